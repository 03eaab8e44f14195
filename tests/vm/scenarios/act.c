// One small program that can do what the scenarios need, step by step, and nothing else: statically linked, so
// that it opens no library and no locale, and a scenario's alerts are caused by what the scenario says.
//
//     act STEP [ARGUMENT...] STEP [ARGUMENT...] ...
//
// The steps are done in order; the table at the end of this file lists them. `exec`, `execas`, `execat`, `run` and
// `memfd` take the rest of the line. Copied under another name it is the program of that name as far as rules
// are concerned (@nginx in a scenario). A first word that is no step makes it a decoy: it exits at once, whatever its
// arguments say (@nc -e /bin/sh 127.0.0.1 9).
//
// Any failing step ends the program with status 1 and a sentence on stderr.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char **rest;	// the words after the current step's arguments
static int last = -1;	// what the last connect or listen made

static _Noreturn void fail(const char *step, const char *what)
{
	fprintf(stderr, "act: %s %s: %s\n", step, what, strerror(errno));
	exit(1);
}

// The parent waits for the child, says what became of it, and is done; the child goes on with the next step.
static void become_child(pid_t child)
{
	int status;

	if (child < 0)
		fail("fork", "");
	if (child == 0)
		return;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			fail("wait", "");
	exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void do_fork(char **a) { (void)a; become_child(fork()); }

static void do_cwd(char **a)
{
	if (chdir(a[0]))
		fail("cwd", a[0]);
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail("write", path);
	close(fd);
}

static void do_loginuid(char **a) { write_file("/proc/self/loginuid", a[0]); }

static void do_cgroup(char **a)
{
	char path[4096];

	for (char *s = a[0] + 1; *s; s++)
		if (*s == '/') {
			*s = 0;
			mkdir(a[0], 0755);
			*s = '/';
		}
	if (mkdir(a[0], 0755) && errno != EEXIST)
		fail("cgroup", a[0]);
	snprintf(path, sizeof(path), "%s/cgroup.procs", a[0]);
	write_file(path, "0");
}

static void do_unshare(char **a)
{
	static const struct { const char *name; int flag; } kinds[] = {
		{ "mnt", CLONE_NEWNS }, { "pid", CLONE_NEWPID }, { "net", CLONE_NEWNET },
		{ "uts", CLONE_NEWUTS }, { "ipc", CLONE_NEWIPC }, { "user", CLONE_NEWUSER },
	};
	int flags = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strstr(a[0], kinds[i].name))
			flags |= kinds[i].flag;
	if (unshare(flags))
		fail("unshare", a[0]);
	if ((flags & CLONE_NEWNS) && mount("", "/", "", MS_REC | MS_PRIVATE, ""))
		fail("unshare", "private");
	if (flags & CLONE_NEWPID)
		become_child(fork());
}

// The child leads a session on a new terminal; the parent reads what comes out of it.
static void do_tty(char **a)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	char name[64], buffer[4096];
	pid_t child;
	ssize_t n;

	(void)a;
	if (master < 0 || grantpt(master) || unlockpt(master) || ptsname_r(master, name, sizeof(name)))
		fail("tty", "open");
	child = fork();
	if (child == 0) {
		int slave;

		setsid();
		slave = open(name, O_RDWR);
		if (slave < 0 || ioctl(slave, TIOCSCTTY, 0) || dup2(slave, 0) < 0 || dup2(slave, 1) < 0 ||
		    dup2(slave, 2) < 0)
			fail("tty", name);
		if (slave > 2)
			close(slave);
		return;
	}
	// EIO: nobody has the terminal open any more.
	while ((n = read(master, buffer, sizeof(buffer))) > 0)
		if (write(1, buffer, n) < 0)
			break;
	become_child(child);
}

static void do_user(char **a)
{
	FILE *file = fopen("/etc/passwd", "re");
	struct passwd *entry;

	if (!file)
		fail("user", "/etc/passwd");
	while ((entry = fgetpwent(file)) && strcmp(entry->pw_name, a[0]))
		;
	fclose(file);
	errno = ENOENT;
	if (!entry || setgroups(0, NULL) || setgid(entry->pw_gid) || setuid(entry->pw_uid))
		fail("user", a[0]);
}

static void do_sleep(char **a)
{
	long ms = atol(a[0]);
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static void do_cpu(char **a)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(atoi(a[0]), &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("cpu", a[0]);
}

// From the bounding set: root has it until the next exec, and not after.
static void do_dropcap(char **a)
{
	if (prctl(PR_CAPBSET_DROP, atoi(a[0]), 0, 0, 0))
		fail("dropcap", a[0]);
}

static void do_note(char **a) { (void)a; }

// An open that may fail (a step named try-...) is still an open.
static void opened(const char *step, const char *path, int fd)
{
	char c;

	if (fd < 0)
		fail(step, path);
	if (read(fd, &c, 1) < 0 && errno != EBADF && errno != EISDIR && errno != EINVAL)
		fail(step, path);
	close(fd);
}

static void do_read(char **a) { opened("read", a[0], syscall(SYS_openat, AT_FDCWD, a[0], O_RDONLY)); }
static void do_read_open(char **a) { opened("read-open", a[0], syscall(SYS_open, a[0], O_RDONLY)); }
static void do_try_read(char **a) { syscall(SYS_openat, AT_FDCWD, a[0], O_RDONLY); }

static void do_read_openat2(char **a)
{
	struct open_how how = { .flags = O_RDONLY };

	opened("read-openat2", a[0], syscall(SYS_openat2, AT_FDCWD, a[0], &how, sizeof(how)));
}

static void do_read_at(char **a)
{
	int dir = open(a[0], O_RDONLY | O_DIRECTORY);

	if (dir < 0)
		fail("read-at", a[0]);
	opened("read-at", a[1], syscall(SYS_openat, dir, a[1], O_RDONLY));
}

static void do_write(char **a)
{
	opened("write", a[0], syscall(SYS_openat, AT_FDCWD, a[0], O_WRONLY | O_APPEND));
}

static void do_create(char **a)
{
	opened("create", a[0], syscall(SYS_openat, AT_FDCWD, a[0], O_WRONLY | O_CREAT | O_APPEND, 0644));
}

static void do_truncate(char **a)
{
	opened("truncate", a[0], syscall(SYS_openat, AT_FDCWD, a[0], O_WRONLY | O_CREAT | O_TRUNC, 0644));
}

static void do_remove(char **a) { unlink(a[0]); }

static void do_symlink(char **a)
{
	if (syscall(SYS_symlink, a[0], a[1]))
		fail("symlink", a[1]);
}

static void do_symlinkat(char **a)
{
	if (syscall(SYS_symlinkat, a[0], AT_FDCWD, a[1]))
		fail("symlinkat", a[1]);
}

static void do_link(char **a)
{
	if (syscall(SYS_link, a[0], a[1]))
		fail("link", a[1]);
}

static void do_linkat(char **a)
{
	if (syscall(SYS_linkat, AT_FDCWD, a[0], AT_FDCWD, a[1], 0))
		fail("linkat", a[1]);
}

static void do_chmod(char **a)
{
	if (syscall(SYS_chmod, a[1], strtol(a[0], NULL, 8)))
		fail("chmod", a[1]);
}

static void do_fchmod(char **a)
{
	int fd = open(a[1], O_RDONLY);

	if (fd < 0 || syscall(SYS_fchmod, fd, strtol(a[0], NULL, 8)))
		fail("fchmod", a[1]);
}

static socklen_t address(const char *host, const char *port, struct sockaddr_storage *out)
{
	struct sockaddr_in *v4 = (void *)out;
	struct sockaddr_in6 *v6 = (void *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(atoi(port));
		return sizeof(*v4);
	}
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
		fail("address", host);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(atoi(port));
	return sizeof(*v6);
}

// The kernel completes connections to it by itself, up to the backlog, and keeps those that nobody accepts.
static void do_listen(char **a)
{
	struct sockaddr_storage to;
	socklen_t length = address(a[0], a[1], &to);
	int one = 1;

	last = socket(to.ss_family, SOCK_STREAM, 0);
	setsockopt(last, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (last < 0 || bind(last, (void *)&to, length) || listen(last, 4096))
		fail("listen", a[0]);
}

static void connect_to(char **a, int type)
{
	struct sockaddr_storage to;
	socklen_t length = address(a[0], a[1], &to);

	last = socket(to.ss_family, type, 0);
	if (last < 0 || connect(last, (void *)&to, length))
		fail("connect", a[0]);
}

static void do_connect(char **a) { connect_to(a, SOCK_STREAM); }
static void do_connect_udp(char **a) { connect_to(a, SOCK_DGRAM); }

static void do_dup2(char **a)
{
	if (syscall(SYS_dup2, last, atoi(a[0])) < 0)
		fail("dup2", a[0]);
}

static void do_dup3(char **a)
{
	if (syscall(SYS_dup3, last, atoi(a[0]), 0) < 0)
		fail("dup3", a[0]);
}

// dup gives the lowest free descriptor.
static void do_dup(char **a)
{
	close(atoi(a[0]));
	if (dup(last) != atoi(a[0]))
		fail("dup", a[0]);
}

static void do_packet_socket(char **a)
{
	(void)a;
	last = socket(AF_PACKET, SOCK_RAW, htons(0x0003));
	if (last < 0)
		fail("packet-socket", "");
}

static void do_raw_socket(char **a)
{
	(void)a;
	last = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	if (last < 0)
		fail("raw-socket", "");
}

static void do_traceme(char **a)
{
	(void)a;
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		fail("traceme", "");
}

// One request on a child made for it. Those that need a tracer are refused, after the event.
static void do_trace(char **a)
{
	static const struct { const char *name; long request; } requests[] = {
		{ "attach", PTRACE_ATTACH }, { "seize", PTRACE_SEIZE },
		{ "poke", PTRACE_POKEDATA }, { "peek", PTRACE_PEEKDATA },
	};
	pid_t child = fork();
	size_t i;

	if (child == 0)
		for (;;)
			pause();
	for (i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		if (!strcmp(a[0], requests[i].name))
			break;
	errno = EINVAL;
	if (i == sizeof(requests) / sizeof(requests[0]) ||
	    (syscall(SYS_ptrace, requests[i].request, child, NULL, NULL) && i < 2))
		fail("trace", a[0]);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

// Not a module: the kernel refuses it, after the event.
static void do_init_module(char **a)
{
	static char image[64] = "no module";

	(void)a;
	syscall(SYS_init_module, image, sizeof(image), "");
}

static void do_finit_module(char **a)
{
	int fd = open(a[0], O_RDONLY);

	if (fd < 0)
		fail("finit-module", a[0]);
	syscall(SYS_finit_module, fd, "", 0);
}

static void do_exit(char **a) { exit(atoi(a[0])); }

static void do_exec(char **a)
{
	execve(rest[0], rest, environ);
	fail("exec", a ? rest[0] : "");
}

static void do_execas(char **a)
{
	execve(a[0], rest, environ);
	fail("execas", a[0]);
}

static void do_execat(char **a)
{
	(void)a;
	syscall(SYS_execveat, AT_FDCWD, rest[0], rest, environ, 0);
	fail("execat", rest[0]);
}

static void do_run(char **a)
{
	(void)a;
	become_child(fork());
	do_exec(rest);
}

// A copy of this program in memory, run with the rest as its arguments.
static void do_memfd(char **a)
{
	int from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC), to = memfd_create(a[0], MFD_CLOEXEC);
	char buffer[65536];
	ssize_t n;

	if (from < 0 || to < 0)
		fail("memfd", a[0]);
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, n) != n)
			fail("memfd", "write");
	syscall(SYS_execveat, to, "", rest, environ, AT_EMPTY_PATH);
	fail("memfd", "execveat");
}

// A container's root, built in a directory: an overlay whose lower layer, "the image", holds this program as /app/image,
// with the host's system directories bound into it. The process is in it afterwards. Wants a mount namespace of its own.
static void do_image(char **a)
{
	char path[512], lower[256], options[1024], buffer[65536];
	static const char *const hosts[] = { "usr", "bin", "lib", "lib64", "etc", "dev", "proc", "sys" };
	int from, to;
	ssize_t n;

	if (mkdir(a[0], 0755) && errno != EEXIST)
		fail("image", a[0]);
	if (mount("image", a[0], "tmpfs", 0, "mode=755"))
		fail("image", "tmpfs");
	snprintf(lower, sizeof(lower), "%s/lower", a[0]);
	for (size_t i = 0; i < 4; i++) {
		static const char *const parts[] = { "lower", "upper", "work", "root" };

		snprintf(path, sizeof(path), "%s/%s", a[0], parts[i]);
		if (mkdir(path, 0755))
			fail("image", path);
	}
	snprintf(path, sizeof(path), "%s/app", lower);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/app/image", lower);
	from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, n) != n)
			fail("image", path);
	close(from);
	close(to);
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", lower, hosts[i]);
		mkdir(path, 0755);
	}
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work", a[0], a[0], a[0]);
	snprintf(path, sizeof(path), "%s/root", a[0]);
	if (mount("image", path, "overlay", 0, options))
		fail("image", "overlay");
	for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
		char host[64];

		snprintf(host, sizeof(host), "/%s", hosts[i]);
		snprintf(path, sizeof(path), "%s/root/%s", a[0], hosts[i]);
		if (access(host, F_OK) == 0 && mount(host, path, "", MS_BIND | MS_REC, ""))
			fail("image", path);
	}
	snprintf(path, sizeof(path), "%s/root", a[0]);
	if (chroot(path) || chdir("/"))
		fail("image", "chroot");
}

static void do_copy(char **a)
{
	char buffer[65536];
	int from = open(a[0], O_RDONLY | O_CLOEXEC);
	int to = open(a[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	ssize_t n;

	if (from < 0 || to < 0)
		fail("copy", a[1]);
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		if (write(to, buffer, n) != n)
			fail("copy", a[1]);
	// An open file cannot be executed while it is open for writing.
	close(from);
	close(to);
}

static void do_mkdir(char **a)
{
	if (mkdir(a[0], 0755) && errno != EEXIST)
		fail("mkdir", a[0]);
}

static const struct step {
	const char *name;
	int arguments;
	void (*act)(char **arguments);
} steps[] = {
	// Who the process is
	{ "fork", 0, do_fork },			// the child goes on, the parent waits
	{ "cwd", 1, do_cwd },
	{ "cgroup", 1, do_cgroup },		// make it and move there
	{ "unshare", 1, do_unshare },		// mnt,pid,net,...
	{ "image", 1, do_image },		// a container's root, built in an empty directory
	{ "tty", 0, do_tty },			// a new session on a new terminal
	{ "loginuid", 1, do_loginuid },
	{ "user", 1, do_user },
	{ "dropcap", 1, do_dropcap },		// by number; takes effect with the next exec
	{ "cpu", 1, do_cpu },
	{ "sleep", 1, do_sleep },		// milliseconds
	// Files
	{ "read", 1, do_read },			// openat, read one byte
	{ "read-open", 1, do_read_open },
	{ "read-openat2", 1, do_read_openat2 },
	{ "read-at", 2, do_read_at },		// DIRECTORY NAME
	{ "try-read", 1, do_try_read },
	{ "write", 1, do_write },		// open for appending, write nothing
	{ "create", 1, do_create },
	{ "truncate", 1, do_truncate },
	{ "remove", 1, do_remove },
	{ "copy", 2, do_copy },
	{ "mkdir", 1, do_mkdir },
	{ "symlink", 2, do_symlink },		// TARGET LINK
	{ "symlinkat", 2, do_symlinkat },
	{ "link", 2, do_link },			// OLD NEW
	{ "linkat", 2, do_linkat },
	{ "chmod", 2, do_chmod },		// MODE FILE
	{ "fchmod", 2, do_fchmod },
	// Network
	{ "listen", 2, do_listen },		// ADDRESS PORT
	{ "connect", 2, do_connect },
	{ "connect-udp", 2, do_connect_udp },
	{ "dup", 1, do_dup },			// the last socket becomes descriptor N
	{ "dup2", 1, do_dup2 },
	{ "dup3", 1, do_dup3 },
	{ "packet-socket", 0, do_packet_socket },
	{ "raw-socket", 0, do_raw_socket },
	// The kernel and other processes
	{ "traceme", 0, do_traceme },
	{ "trace", 1, do_trace },		// attach, seize, poke, peek
	{ "init-module", 0, do_init_module },
	{ "finit-module", 1, do_finit_module },
	// Programs
	{ "note", 1, do_note },			// a word for the command line
	{ "exit", 1, do_exit },
	{ "exec", 0, do_exec },			// PATH ARGUMENT...
	{ "execas", 1, do_execas },		// PATH ARGUMENT-0 ARGUMENT...
	{ "execat", 0, do_execat },
	{ "run", 0, do_run },			// in a child
	{ "memfd", 1, do_memfd },		// NAME ARGUMENT-0 ARGUMENT...
};

static const struct step *find(const char *name)
{
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (!strcmp(steps[i].name, name))
			return &steps[i];
	return NULL;
}

int main(int argc, char **argv)
{
	char **word = argv + 1;

	(void)argc;
	if (!*word || !find(*word))
		return 0;
	while (*word) {
		const struct step *step = find(*word++);
		char **arguments = word;

		if (!step) {
			fprintf(stderr, "act: no step %s\n", word[-1]);
			return 1;
		}
		for (int i = 0; i < step->arguments; i++)
			if (!*word++) {
				fprintf(stderr, "act: %s wants %d words\n", step->name, step->arguments);
				return 1;
			}
		rest = word;
		step->act(arguments);
	}
	return 0;
}
