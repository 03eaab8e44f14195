# Functions that the packages of falco-sensor call as they come and go; VERSION is theirs. POSIX shell: it runs wherever the
# package does. Nothing here fails an installation or a removal: what could not be done is said, with the command that does it.
# shellcheck shell=sh

name=falco-sensor
say() { echo "$name: $*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }
running() { [ -d /run/systemd/system ]; }

# dkms_knows VERSION
dkms_knows() { has dkms && [ -d "/var/lib/dkms/$name/$1" ]; }

# forget VERSION: takes a version's modules from all kernels.
forget() {
	if dkms_knows "$1"; then dkms remove -m $name -v "$1" --all >/dev/null 2>&1 || rm -rf "/var/lib/dkms/$name/$1"; fi
	rmdir "/var/lib/dkms/$name" 2>/dev/null || true
}

# Modules that `falco-ctl driver build` put beside those of DKMS.
forget_plain() {
	for module in /lib/modules/*/updates/falco_sensor.ko; do
		[ -e "$module" ] || continue
		rm -f "$module"
		release=${module#/lib/modules/}
		depmod -a "${release%%/*}" 2>/dev/null || true
		rmdir "${module%/*}" 2>/dev/null || true
	done
}

# Builds the module for the running kernel; says what is missing where that cannot be.
build() {
	if has dkms && ! dkms_knows "$VERSION"; then dkms add -m $name -v "$VERSION" >/dev/null 2>&1 || true; fi
	if said=$(falco-ctl driver build 2>&1); then
		say "$said"
		return 0
	fi
	say "the module could not be built for the running kernel, $(uname -r):"
	echo "$said" >&2
	falco-ctl driver doctor >&2 || true
	say "when nothing is missing any more: falco-ctl driver build && systemctl restart falco-sensor"
	return 1
}

start_sensor() {
	systemctl start falco-sensor.service ||
		say "falco-sensor did not start: journalctl -u falco-sensor -u falco-sensor-driver"
}

# after_install first|upgrade
after_install() {
	if has systemctl; then
		! running || systemctl daemon-reload || true
		[ "$1" != first ] || systemctl --no-reload preset falco-sensor.service >/dev/null 2>&1 || true
	fi
	if [ ! -e /proc/modules ]; then
		say "this kernel takes no modules (falco-ctl driver doctor)"
		return 0
	fi
	if ! build; then
		[ "$1" = first ] || ! falco-ctl driver status >/dev/null 2>&1 ||
			say "the module that is loaded stays, and so does the sensor that runs, until then"
		return 0
	fi
	if ! running; then
		# Without systemd the operator starts the sensor; an old module that nobody uses makes room.
		[ ! -d /sys/module/falco_sensor ] || falco-ctl driver load || true
	elif systemctl -q is-active falco-sensor.service; then
		systemctl stop falco-sensor.service || true
		systemctl restart falco-sensor-driver.service || true
		start_sensor
	elif [ "$1" = first ] && systemctl -q is-enabled falco-sensor.service; then
		start_sensor
	elif [ -d /sys/module/falco_sensor ]; then
		falco-ctl driver load || true
	fi
}

# The source of this version goes; modules of it that are loaded stay until the new one takes over.
before_upgrade() { forget "$VERSION"; }

# Of the versions that DKMS knows only ours stays.
other_versions() {
	for folder in "/var/lib/dkms/$name"/*; do
		[ ! -e "$folder/source" ] && [ ! -L "$folder/source" ] || [ "${folder##*/}" = "$VERSION" ] || forget "${folder##*/}"
	done
}

before_remove() {
	if has systemctl; then
		if running; then systemctl stop falco-sensor.service falco-sensor-driver.service || true; fi
		systemctl --no-reload disable falco-sensor.service >/dev/null 2>&1 || true
	fi
	falco-ctl driver unload >&2 || say "the module is still loaded"
	forget "$VERSION"
	forget_plain
}

after_remove() {
	if running; then
		systemctl daemon-reload || true
		systemctl reset-failed falco-sensor.service falco-sensor-driver.service 2>/dev/null || true
	fi
}

purge() {
	rm -rf /var/log/falco-sensor /var/lib/falco-sensor
	rm -rf /etc/falco-sensor
}
