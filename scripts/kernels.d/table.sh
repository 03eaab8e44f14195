# Reads kernels.table and the cache's layout. Sourced by scripts/kernels and scripts/kmod.
#
#   $cache/kernels/KERNEL/kernel.env   what was fetched, as NAME=VALUE lines; written last
#   $cache/kernels/KERNEL/root/        the unpacked packages
#   $cache/kernels/KERNEL/vmlinux      the uncompressed image
#   $cache/apt/SUITE/                  a private apt root
#   $cache/chroot/SUITE/               a debootstrapped suite, for its compiler

# shellcheck shell=bash disable=SC2034  # what it sets is for those that source it
table=$(dirname "${BASH_SOURCE[0]}")/kernels.table
cache=${FALCO_SENSOR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/falco-sensor}

kernel_names() { awk '$1 !~ /^#/ && NF { print $1 }' "$table"; }

# table_row KERNEL: sets series, suites and toolchain.
table_row() {
	local row
	row=$(awk -v k="$1" '$1 == k { print $2, $3, $4 }' "$table")
	[[ -n $row ]] || die "no kernel '$1' (have: $(kernel_names | paste -sd' '))"
	read -r series suites toolchain <<<"$row"
}

# expand_names NAME...: one kernel name a line, "all" and "stock" (all but debug) replaced.
expand_names() {
	local name
	for name; do
		case $name in
		all) kernel_names ;;
		stock) kernel_names | grep -vx debug ;;
		*) (table_row "$name") && echo "$name" || return ;;
		esac
	done
}

die() { echo "${0##*/}: $*" >&2; exit 1; }
say() { echo "${0##*/}: $*" >&2; }
