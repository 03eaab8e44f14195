# Functions that the packages of falco-hub call as they come and go. POSIX shell.
# shellcheck shell=sh

has() { command -v "$1" >/dev/null 2>&1; }
running() { [ -d /run/systemd/system ]; }

# after_install first|upgrade
after_install() {
	has systemctl || return 0
	! running || systemctl daemon-reload || true
	[ "$1" != first ] || systemctl --no-reload preset falco-hub.service >/dev/null 2>&1 || true
	running || return 0
	if [ "$1" = first ]; then
		! systemctl -q is-enabled falco-hub.service || systemctl start falco-hub.service || true
	else
		systemctl try-restart falco-hub.service || true
	fi
}

before_upgrade() { :; }
other_versions() { :; }

before_remove() {
	has systemctl || return 0
	! running || systemctl stop falco-hub.socket falco-hub.service || true
	systemctl --no-reload disable falco-hub.service >/dev/null 2>&1 || true
}

after_remove() {
	! running || systemctl daemon-reload || true
}

# The alerts that were kept go, too.
purge() {
	rm -rf /var/lib/private/falco-hub /var/lib/falco-hub
	rm -rf /etc/falco-hub
}
