# Runs the kernel's build system on a folder of module sources, with the compiler that the kernel was built with.
# Sourced after table.sh and suites.sh.

# shellcheck shell=bash disable=SC2154

# compile KERNEL FOLDER [MAKE ARGUMENT...]
compile() {
	local kernel=$1 folder=$2 facts headers tools root
	facts=$("$here/kernels" show "$kernel") || return
	headers=$(sed -n 's/^HEADERS=//p' <<<"$facts")
	tools=$(sed -n 's/^TOOLCHAIN=//p' <<<"$facts")
	# Headers that come with a vmlinux make the build ask for pahole, of the kernel's version, and make BTF: the
	# module needs neither.
	local make=(make -s -j"$(nproc)" -C "$headers" M="$folder" CC="${tools#*/}" CONFIG_DEBUG_INFO_BTF_MODULES=
		PAHOLE_VERSION="$(sed -n 's/^CONFIG_PAHOLE_VERSION=//p' "$headers/.config")" modules "${@:3}")
	if [[ $tools == */* ]]; then
		root=$(chroot_of "${tools%/*}" "${tools#*/}") || return
		in_chroot "$root" "$cache/kernels/$kernel" "$folder" "${make[@]}"
	else
		"${make[@]}"
	fi
}

# in_chroot ROOT FOLDER FOLDER COMMAND...: both folders at their own paths; objtool needs /proc.
in_chroot() {
	mkdir -p "$1$2" "$1$3"
	# shellcheck disable=SC2016  # the inner shell's parameters
	unshare --mount --propagation private bash -euc '
		mount -t proc proc "$1/proc"
		mount --bind "$2" "$1$2"
		mount --bind "$3" "$1$3"
		exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 "${@:4}"' in_chroot "$@"
}
