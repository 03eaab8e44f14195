# Debian's own kernels: find the newest package of a series, unpack it, make its headers usable where
# they are. Sourced by scripts/kernels.

# shellcheck shell=bash disable=SC2154

# newest_release SERIES SUITES: prints "SUITE RELEASE" of the newest plain amd64 image.
newest_release() {
	local series=$1 suite
	for suite in ${2//,/ }; do
		{ in_suite "$suite" apt-cache pkgnames "linux-image-$series." || die "$suite: no package names"; } |
			sed -nE "s/^linux-image-(${series//./\\.}\.[0-9].*)-amd64$/\1/p" |
			grep -vE -- '-(cloud|rt)$' | sed "s/^/$suite /"
	done | sort -k2,2V | tail -n 1 | grep . || die "no $series kernel in $2"
}

# packages_of SUITE PACKAGE...: those packages and the kernel packages of the same release they need.
packages_of() {
	local suite=$1 package depends
	local -A seen=()
	local queue=("${@:2}")
	while ((${#queue[@]})); do
		package=${queue[0]}
		queue=("${queue[@]:1}")
		[[ -z ${seen[$package]:-} ]] || continue
		seen[$package]=1
		echo "$package"
		depends=$(in_suite "$suite" apt-cache show --no-all-versions "$package" | sed -n 's/^Depends: //p')
		mapfile -t -O ${#queue[@]} queue < <(grep -oE 'linux-(binary|modules|headers|kbuild|base)-[0-9][^ ,:]*' <<<"$depends")
	done
}

fetch_stock() {
	local kernel=$1 dir=$cache/kernels/$1 suite release image
	read -r suite release < <(newest_release "$series" "$suites")
	[[ -n ${release:-} ]] || exit 1
	local packages
	mapfile -t packages < <(packages_of "$suite" "linux-image-$release-amd64" "linux-headers-$release-amd64")
	say "$kernel: $(printf '%s ' "${packages[@]}")from $suite"
	rm -rf "$dir"
	download "$suite" "$dir" "${packages[@]}"

	local root=$dir/root
	[[ -e $root/lib ]] || ln -s usr/lib "$root/lib" # 7.3 installs its modules below /usr
	depmod -b "$root" "$release-amd64"
	relocate_headers "$root" "$release-amd64"
	image=$(find "$root" -name 'vmlinuz*' -type f -print -quit) # in /boot, from 7.3 on beside the modules
	[[ -n $image ]] || die "$kernel: no image in ${packages[*]}"
	python3 "$here/kernels.d/vmlinux.py" "$image" "$dir/vmlinux"

	write_env "$dir" \
		RELEASE="$release-amd64" SUITE="$suite" PACKAGES="$suite: linux-image-$release-amd64 $(in_suite "$suite" \
			apt-cache show --no-all-versions "linux-image-$release-amd64" | sed -n 's/^Version: //p')" \
		VMLINUX="$dir/vmlinux" MODULES="$root/lib/modules/$release-amd64" \
		HEADERS="$root/usr/src/linux-headers-$release-amd64" TOOLCHAIN="$toolchain"
}

# Header packages name /usr/src and /usr/lib absolutely; point them at where they were unpacked.
relocate_headers() {
	local root=$1 release=$2 link target
	sed -i -E "s#(^|[= \t])(/usr/(src|lib)/linux-)#\1$root\2#g" "$root"/usr/src/linux-headers-*/Makefile
	while read -r link; do
		target=$(readlink "$link")
		[[ $target != /usr/* ]] || ln -sfn "$root$target" "$link"
	done < <(find "$root"/usr/src/linux-headers-*/ -maxdepth 1 -type l)
	ln -sfn "$root/usr/src/linux-headers-$release" "$root/lib/modules/$release/build"
	ln -sfn "$root/usr/src/linux-headers-${release%-amd64}-common" "$root/lib/modules/$release/source"
}

# write_env FOLDER NAME=VALUE...: the last step of a fetch: only then does the kernel count as cached.
write_env() {
	printf '%s\n' "LAYOUT=$layout" "${@:2}" >"$1/kernel.env.new"
	mv "$1/kernel.env.new" "$1/kernel.env"
}
