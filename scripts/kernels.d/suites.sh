# Packages of suites that this machine does not follow: one private apt root for each, so that the
# machine's own package lists and sources stay as they are. Sourced after table.sh.
#
# Mirrors and keyrings are those the machine's apt uses. On a machine that has no Debian sources, set
# FALCO_SENSOR_DEBIAN_MIRROR and FALCO_SENSOR_SECURITY_MIRROR.

# shellcheck shell=bash disable=SC2016,SC2154  # apt's $(...) is not the shell's; cache is table.sh's

# debian_mirror main|security
debian_mirror() {
	local want=$1 named
	case $want in
	main) named=${FALCO_SENSOR_DEBIAN_MIRROR:-} ;;
	security) named=${FALCO_SENSOR_SECURITY_MIRROR:-} ;;
	esac
	[[ -n $named ]] || named=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' | awk -F'|' -v want="$want" '
		$1 == "Debian" && ($2 ~ /Security/) == (want == "security") { print $3; exit }')
	[[ -n $named ]] || die "apt follows no Debian $want archive: run apt-get update, or name a mirror (kernels.d/suites.sh)"
	echo "${named%/}"
}

# The keyring named by the machine's first Debian source, else the one the keyring package installs.
debian_keyring() {
	local source ring
	source=$(apt-get indextargets --format '$(ORIGIN)|$(SOURCESENTRY)' | sed -n 's/^Debian|\(.*\):[0-9]*$/\1/p' | head -n 1)
	ring=$([[ -z $source ]] || grep -hoP '(?i)signed-by[:=]\s*\K/[^],\s]+' "$source" | head -n 1)
	echo "${ring:-/usr/share/keyrings/debian-archive-keyring.gpg}"
}

# suite_root SUITE: makes the private root of SUITE, with fresh lists; prints its folder.
suite_root() {
	local suite=$1 root=$cache/apt/$1 mirror ring
	mkdir -p "$root"/{etc,state/lists/partial,cache/archives/partial}
	exec 7>"$root/lock"
	flock 7
	[[ ! -e $root/ready ]] || { exec 7>&-; echo "$root"; return; }
	case $suite in
	*-security) mirror=$(debian_mirror security) ;;
	*) mirror=$(debian_mirror main) ;;
	esac
	ring=$(debian_keyring)
	echo "deb [signed-by=$ring] $mirror $suite main" >"$root/etc/sources.list"
	: >"$root/state/status"
	cat >"$root/apt.conf" <<-CONF
		Dir::Etc::SourceList "$root/etc/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::State "$root/state";
		Dir::State::status "$root/state/status";
		Dir::Cache "$root/cache";
		APT::Architecture "amd64";
		APT::Sandbox::User "root";
		Acquire::Languages "none";
		Acquire::Check-Valid-Until "false";
		Acquire::Retries "3";
	CONF
	APT_CONFIG=$root/apt.conf apt-get -qq update >&2 || die "no package lists for $suite"
	touch "$root/ready"
	exec 7>&-
	echo "$root"
}

# in_suite SUITE COMMAND...: an apt command that sees SUITE alone.
in_suite() {
	local root
	root=$(suite_root "$1") || return
	APT_CONFIG=$root/apt.conf "${@:2}"
}

# download SUITE FOLDER PACKAGE...: fetches and unpacks the packages into FOLDER/root.
download() {
	local suite=$1 folder=$2
	mkdir -p "$folder/deb" "$folder/root"
	(cd "$folder/deb" && in_suite "$suite" apt-get -qq download "${@:3}" >&2) || die "$suite: cannot download ${*:3}"
	local deb
	for deb in "$folder"/deb/*.deb; do dpkg-deb -x "$deb" "$folder/root"; done
	rm -r "$folder/deb"
}

# chroot_of SUITE COMPILER: a debootstrapped SUITE with what building a module takes; prints its folder.
chroot_of() {
	local suite=$1 compiler=$2 root=$cache/chroot/$1
	mkdir -p "$cache/chroot"
	exec 8>"$cache/chroot/$suite.lock"
	flock 8
	if [[ ! -e $root/ready-$compiler ]]; then
		say "$suite: debootstrap with $compiler"
		rm -rf "$root"
		debootstrap --variant=minbase --keyring="$(debian_keyring)" \
			--include="$compiler,make,libelf1t64,libssl3t64,kmod" \
			"$suite" "$root" "$(debian_mirror main)" >"$root.log" 2>&1 ||
			{ tail -n 20 "$root.log" >&2; die "$suite: debootstrap failed"; }
		rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
		touch "$root/ready-$compiler"
	fi
	exec 8>&-
	echo "$root"
}
