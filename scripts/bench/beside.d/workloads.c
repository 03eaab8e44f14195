/* The calls of programs, timed: `TOOL WHAT NS` for each, of a round the least of many batches. In a guest that counts instructions a ns is one. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int zero, null, in, out;
static struct sockaddr_in to;
static char data[64];

static void must(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static void ask_pid(void)
{
	syscall(SYS_getpid);
}

static void ask_file(void)
{
	struct stat st;

	must(!stat("/etc/hostname", &st), "stat");
}

static void read_write(void)
{
	must(read(zero, data, sizeof(data)) == sizeof(data), "read");
	must(write(null, data, sizeof(data)) == sizeof(data), "write");
}

static void open_close(void)
{
	int fd = open("/tmp/directory/of/some/files/plain", O_RDONLY);

	must(fd >= 0, "open");
	close(fd);
}

static void udp(void)
{
	must(sendto(out, data, sizeof(data), 0, (struct sockaddr *)&to, sizeof(to)) == sizeof(data), "sendto");
	must(recvfrom(in, data, sizeof(data), 0, NULL, NULL) == sizeof(data), "recvfrom");
}

static void fork_exec(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execl("/tmp/directory/program", "program", "exit", NULL);
		_exit(127);
	}
	must(waitpid(pid, &status, 0) == pid && !status, "waitpid");
}

static const struct {
	const char *name;
	void (*once)(void);
	int rounds;		/* of a batch */
} workloads[] = {
	{ "getpid", ask_pid, 1000 },	{ "stat", ask_file, 200 }, { "read+write", read_write, 300 },
	{ "open+close", open_close, 200 }, { "UDP", udp, 100 },	   { "fork+exec", fork_exec, 1 },
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	socklen_t len = sizeof(to);
	unsigned int i;

	must(argc == 2, "usage: workloads TOOL");
	if (!strcmp(argv[1], "exit"))
		return 0;
	/* A program and files in memory: what lies on the host takes as long as the host likes. */
	must(!system("mkdir -p /tmp/directory/of/some/files && touch /tmp/directory/of/some/files/plain && cp /proc/$PPID/exe /tmp/directory/program"),
	     "/tmp/directory");
	zero = open("/dev/zero", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	in = socket(AF_INET, SOCK_DGRAM, 0);
	out = socket(AF_INET, SOCK_DGRAM, 0);
	to.sin_family = AF_INET;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(!bind(in, (struct sockaddr *)&to, sizeof(to)), "bind");
	must(!getsockname(in, (struct sockaddr *)&to, &len), "getsockname");
	for (i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		double least = 1e18, end = now() + 1.5e9;
		int batches = 0, round;

		while (now() < end || batches < 20) {
			double begin = now(), each;

			for (round = 0; round < workloads[i].rounds; round++)
				workloads[i].once();
			each = (now() - begin) / workloads[i].rounds;
			least = each < least ? each : least;
			batches++;
		}
		printf("%s %s %.1f\n", argv[1], workloads[i].name, least);
		fflush(stdout);
	}
	return 0;
}
