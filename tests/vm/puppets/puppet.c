// A process on strings: does what its director (puppets.py) tells it, one command a line, and says when it is done.
//
// usage: puppet [ARGUMENT...]            arguments mean nothing; they are there to be seen in proc.cmdline
//
//   PUPPET_DIR    the stage: DIR/in/ROLE (a FIFO with commands), DIR/done (a FIFO for answers), DIR/mark, DIR/bin
//   PUPPET_ROLE   who it is
//   PUPPET_CPUS   "2": stay on CPU 2.  "0,1,2,3": move to the next of these before every system call
//
// The table at the end lists the commands. What a test looks at is "mark": one openat of DIR/mark/NAME. Reading commands,
// answering and moving are system calls that no rule of the tests asks for.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 24

extern char **environ;

static const char *stage;
static int cpus[256], ncpus;

// One string: a thread of its own.
static __thread char role[64];
static __thread int in = -1;
static __thread int at;		// index of the CPU this thread is on

static _Noreturn void fail(const char *what)
{
	dprintf(2, "puppet %s: %s: %s\n", role, what, strerror(errno));
	_exit(1);
}

// The next CPU: called before every system call that a test could see.
static void hop(void)
{
	cpu_set_t set;

	if (ncpus < 2)
		return;
	at = (at + 1) % ncpus;
	CPU_ZERO(&set);
	CPU_SET(cpus[at], &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

static void stay(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fail("sched_setaffinity");
}

static void path_of(char *to, const char *folder, const char *name)
{
	if (snprintf(to, 512, "%s/%s/%s", stage, folder, name) >= 512)
		fail("path");
}

static void take_role(const char *name)
{
	char path[512];

	if (in >= 0)
		close(in);
	snprintf(role, sizeof(role), "%s", name);
	path_of(path, "in", role);
	hop();
	in = open(path, O_RDWR | O_CLOEXEC);	// also for writing: never at its end
	if (in < 0)
		fail(path);
}

// One line, written at once, so that answers of several puppets do not mix.
static void answer(const char *format, ...)
{
	char path[512], line[512];
	va_list list;
	int fd, n = snprintf(line, sizeof(line), "%s ", role);

	va_start(list, format);
	n += vsnprintf(line + n, sizeof(line) - n - 1, format, list);
	va_end(list);
	line[n++] = '\n';
	path_of(path, "", "done");
	hop();
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, line, n) != n)
		fail("answer");
	close(fd);
}

static void mark(const char *name)
{
	char path[512];
	int fd;

	path_of(path, "mark", name);
	hop();
	fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0)
		fail(path);
	hop();
	close(fd);
}

static void do_mark(char **a) { mark(a[1]); answer("ok"); }

// marks NAME COUNT: NAME.0, NAME.1 ...
static void do_marks(char **a)
{
	char name[128];

	for (int i = 0; i < atoi(a[2]); i++) {
		snprintf(name, sizeof(name), "%s.%d", a[1], i);
		mark(name);
	}
	answer("ok");
}

// calls NAME COUNT: as many calls of mkdirat with that name in its path, and no other call.
static void do_calls(char **a)
{
	char path[512];

	path_of(path, "mark", a[1]);
	for (long i = 0; i < atol(a[2]); i++) {
		hop();
		syscall(SYS_mkdirat, AT_FDCWD, path, 0755);
	}
	answer("ok");
}

// fork ROLE
static void do_fork(char **a)
{
	pid_t child;

	hop();
	child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0) {
		take_role(a[1]);
		answer("born %d", getpid());
		return;
	}
	answer("ok");
}

// sibling ROLE: a child of its parent's
static void do_sibling(char **a)
{
	long child;

	hop();
	child = syscall(SYS_clone, CLONE_PARENT, 0, 0, 0, 0);
	if (child < 0)
		fail("clone");
	if (child == 0) {
		take_role(a[1]);
		answer("born %ld", syscall(SYS_getpid));
		return;
	}
	answer("ok");
}

static void become(const char *new_role, char **words)
{
	char path[512], variable[128];
	char *envp[4] = { variable, NULL };
	int n = 1;

	path_of(path, "bin", words[0]);
	snprintf(variable, sizeof(variable), "PUPPET_ROLE=%s", new_role);
	for (char **e = environ; *e; e++)
		if (n < 3 && (!strncmp(*e, "PUPPET_DIR=", 11) || !strncmp(*e, "PUPPET_CPUS=", 12)))
			envp[n++] = *e;
	envp[n] = NULL;
	hop();
	execve(path, words, envp);
	fail(path);
}

// exec NAME [ARGUMENT...]: the new image answers
static void do_exec(char **a) { become(role, a + 1); }

// vfork ROLE NAME [ARGUMENT...]
static void do_vfork(char **a)
{
	pid_t child;

	hop();
	child = vfork();
	if (child < 0)
		fail("vfork");
	if (child == 0)
		become(a[1], a + 2);
	answer("ok");
}

static void loop(void);

static void *thread(void *name)
{
	take_role(name);
	free(name);
	answer("born %ld", syscall(SYS_gettid));
	loop();
	return NULL;
}

// thread ROLE
static void do_thread(char **a)
{
	pthread_t id;

	hop();
	if (pthread_create(&id, NULL, thread, strdup(a[1])))
		fail("thread");
	pthread_detach(id);
	answer("ok");
}

// name TEXT: what PR_SET_NAME does to proc.name is nothing
static void do_name(char **a)
{
	hop();
	if (prctl(PR_SET_NAME, a[1]))
		fail("prctl");
	answer("ok");
}

static void do_chdir(char **a)
{
	hop();
	if (chdir(a[1]))
		fail(a[1]);
	answer("ok");
}

// rename FROM TO
static void do_rename(char **a)
{
	hop();
	if (rename(a[1], a[2]))
		fail(a[2]);
	answer("ok");
}

static void do_setsid(char **a)
{
	(void)a;
	hop();
	if (setsid() < 0)
		fail("setsid");
	answer("ok");
}

static void do_setpgid(char **a)
{
	(void)a;
	hop();
	if (setpgid(0, 0))
		fail("setpgid");
	answer("ok");
}

// tty: a new terminal becomes the session's; the caller leads one
static void do_tty(char **a)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, number;
	char name[64];
	struct stat st;

	(void)a;
	if (master < 0 || grantpt(master) || unlockpt(master) || ioctl(master, TIOCGPTN, &number) ||
	    ptsname_r(master, name, sizeof(name)))
		fail("tty");
	slave = open(name, O_RDWR | O_NOCTTY);
	hop();
	if (slave < 0 || fstat(slave, &st) || ioctl(slave, TIOCSCTTY, 0))
		fail(name);
	answer("tty %lu", (unsigned long)st.st_rdev);
}

// group N: the whole process
static void do_group(char **a)
{
	hop();
	if (setresgid(atoi(a[1]), atoi(a[1]), atoi(a[1])))
		fail("setresgid");
	answer("ok");
}

// user N: the whole process, for good
static void do_user(char **a)
{
	hop();
	if (setresuid(atoi(a[1]), atoi(a[1]), atoi(a[1])))
		fail("setresuid");
	answer("ok");
}

// thread-user N: this thread alone, effective
static void do_thread_user(char **a)
{
	hop();
	if (syscall(SYS_setresuid, -1, atoi(a[1]), -1))
		fail("setresuid");
	answer("ok");
}

static void do_cgroup(char **a)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", a[1]);
	hop();
	fd = open(path, O_WRONLY | O_CLOEXEC);
	hop();
	if (fd < 0 || write(fd, "0", 1) != 1)
		fail(path);
	close(fd);
	answer("ok");
}

static void do_subreaper(char **a)
{
	(void)a;
	hop();
	if (prctl(PR_SET_CHILD_SUBREAPER, 1))
		fail("prctl");
	answer("ok");
}

// cpu N: stay there from now on
static void do_cpu(char **a)
{
	ncpus = 1;
	cpus[0] = atoi(a[1]);
	stay(cpus[0]);
	answer("ok");
}

// storm NAME COUNT: COUNT short lives one after another, each of them marking its way
static void do_storm(char **a)
{
	char name[160];
	pid_t child;
	int status;

	for (int i = 0; i < atoi(a[2]); i++) {
		char *words[] = { (i & 1) ? "gust" : "squall", "storm", name, NULL };

		snprintf(name, sizeof(name), "%s.%d", a[1], i);
		hop();
		child = fork();
		if (child < 0)
			fail("fork");
		if (child == 0) {
			char step[192];

			snprintf(step, sizeof(step), "%s.forked", name);
			mark(step);
			hop();
			if (chdir((i & 2) ? "/usr" : "/etc"))
				_exit(1);
			snprintf(step, sizeof(step), "%s.moved", name);
			mark(step);
			hop();
			prctl(PR_SET_NAME, "calm");
			snprintf(step, sizeof(step), "%s.named", name);
			mark(step);
			become(role, words);
		}
		// with SIGCHLD ignored this returns when the child is gone
		hop();
		waitpid(child, &status, 0);
	}
	answer("ok");
}

// The image that a storm's child becomes.
static int storm_child(const char *name)
{
	char step[192];

	snprintf(step, sizeof(step), "%s.execed", name);
	mark(step);
	hop();
	if (setsid() < 0)
		return 1;
	snprintf(step, sizeof(step), "%s.session", name);
	mark(step);
	return 0;
}

static void do_exit(char **a)
{
	(void)a;
	hop();
	syscall(SYS_exit_group, 0);
}

// end: of this thread
static void do_end(char **a)
{
	(void)a;
	answer("ok");
	hop();
	syscall(SYS_exit, 0);
}

static const struct {
	const char *name;
	void (*act)(char **words);
} commands[] = {
	{ "mark", do_mark }, { "marks", do_marks }, { "calls", do_calls }, { "storm", do_storm },
	{ "fork", do_fork }, { "sibling", do_sibling }, { "vfork", do_vfork }, { "exec", do_exec },
	{ "thread", do_thread }, { "end", do_end }, { "exit", do_exit },
	{ "name", do_name }, { "chdir", do_chdir }, { "rename", do_rename },
	{ "setsid", do_setsid }, { "setpgid", do_setpgid }, { "tty", do_tty },
	{ "user", do_user }, { "group", do_group }, { "thread-user", do_thread_user },
	{ "cgroup", do_cgroup }, { "subreaper", do_subreaper }, { "cpu", do_cpu },
};

static void read_line(char *line, size_t size)
{
	size_t n = 0;

	while (n < size - 1) {
		ssize_t got = read(in, line + n, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got != 1)
			fail("read");
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = 0;
}

static void loop(void)
{
	char line[2048], *words[WORDS + 1], *rest;

	for (;;) {
		size_t i;
		int n = 0;

		read_line(line, sizeof(line));
		for (char *w = strtok_r(line, " ", &rest); w && n < WORDS; w = strtok_r(NULL, " ", &rest))
			words[n++] = w;
		words[n] = NULL;
		for (i = 0; n && i < sizeof(commands) / sizeof(commands[0]); i++)
			if (!strcmp(commands[i].name, words[0]))
				break;
		if (!n || i == sizeof(commands) / sizeof(commands[0])) {
			errno = EINVAL;
			fail(n ? words[0] : "empty line");
		}
		commands[i].act(words);
	}
}

int main(int argc, char **argv)
{
	const char *list = getenv("PUPPET_CPUS");

	stage = getenv("PUPPET_DIR");
	if (!stage || !list || !getenv("PUPPET_ROLE")) {
		fprintf(stderr, "puppet: needs PUPPET_DIR, PUPPET_ROLE and PUPPET_CPUS\n");
		return 2;
	}
	signal(SIGCHLD, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (const char *p = list; p && *p && ncpus < 256; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
		cpus[ncpus++] = atoi(p);
	if (ncpus == 1)
		stay(cpus[0]);
	if (argc == 3 && !strcmp(argv[1], "storm")) {
		snprintf(role, sizeof(role), "%s", argv[2]);
		return storm_child(argv[2]);
	}
	take_role(getenv("PUPPET_ROLE"));
	answer("born %ld", syscall(SYS_gettid));
	loop();
}
