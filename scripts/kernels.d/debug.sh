# The debug kernel: Debian's linux-source, allnoconfig and scripts/debug-kernel.config. About a thousand
# CPU-seconds once; after a change of the configuration only what the change touches is compiled again.
# Sourced by scripts/kernels.
#
# The build tree stays where it was built, at $cache/build/debug: modules are compiled against it.

# shellcheck shell=bash disable=SC2154

debug_config() { echo "$here/debug-kernel.config"; }

# Identifies the configuration that a cached debug kernel was built from.
debug_config_id() { sha256sum "$(debug_config)" | cut -c1-16; }

fetch_debug() {
	local dir=$cache/kernels/debug build=$cache/build/debug suite=${suites%%,*} version
	"$here/deps" debug
	version=$(in_suite "$suite" apt-cache show --no-all-versions "linux-source-$series" | sed -n 's/^Version: //p')
	[[ -n $version ]] || die "no linux-source-$series in $suite"
	say "debug: linux-source-$series $version from $suite; compiling takes a quarter of an hour or more"

	if [[ "$(cat "$build/version" 2>/dev/null)" != "$version" ]]; then
		rm -rf "$build"
		download "$suite" "$build" "linux-source-$series"
		tar -C "$build" --strip-components=1 -xf "$build/root/usr/src/linux-source-$series.tar.xz"
		rm -r "$build/root"
		echo "$version" >"$build/version"
	fi

	local make=(make -s -C "$build" "CC=$toolchain" "HOSTCC=$toolchain" KBUILD_BUILD_USER=debug KBUILD_BUILD_HOST=debug)
	"${make[@]}" KCONFIG_ALLCONFIG="$(debug_config)" allnoconfig >/dev/null
	all_options_taken "$build/.config"
	"${make[@]}" -j"$(nproc)" vmlinux modules >"$build/log" 2>&1 ||
		{ grep -E 'error|Error' "$build/log" | head -n 20 >&2; die "debug kernel: see $build/log"; }

	local release root=$dir/root
	release=$(make -s -C "$build" kernelrelease)
	rm -rf "$dir"
	mkdir -p "$root/lib/modules/$release"
	# Everything is built in, which is what modprobe has to be told.
	cp "$build"/modules.{builtin,builtin.modinfo,order} "$root/lib/modules/$release/"
	ln -s "$build" "$root/lib/modules/$release/build"
	depmod -b "$root" "$release"
	cp "$build/vmlinux" "$dir/vmlinux"

	write_env "$dir" \
		RELEASE="$release" SUITE="$suite" PACKAGES="$suite: linux-source-$series $version" \
		CONFIG="$(debug_config_id)" VMLINUX="$dir/vmlinux" MODULES="$root/lib/modules/$release" \
		HEADERS="$build" TOOLCHAIN="$toolchain"
}

# Kconfig drops what its dependencies do not allow without a word; a checker lost that way goes unnoticed.
all_options_taken() {
	local lost
	lost=$(grep -E '^CONFIG_|is not set$' "$(debug_config)" | grep -vxFf "$1" || true)
	[[ -z $lost ]] || die "debug-kernel.config: not possible with these sources:"$'\n'"$lost"
}
