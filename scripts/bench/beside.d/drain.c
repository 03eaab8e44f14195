/*
 * A reader for the rings of Falco's module that takes every record and looks at none: what the module costs those it watches does not hang on
 * the reader. It asks for the calls that our default rules listen to, and for close. Headers are the module's own.
 */
#include <fcntl.h>
#include <linux/types.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* For programs it wants a header that the package does not have. */
#define __KERNEL__
#include "ppm_events_public.h"
#include "ppm_ringbuffer.h"

#define BOTH(name) PPME_##name##_E, PPME_##name##_X

static const unsigned int wanted[] = {
	BOTH(SYSCALL_OPEN), BOTH(SYSCALL_OPENAT_2), BOTH(SYSCALL_OPENAT2), BOTH(SYSCALL_CREAT), BOTH(SYSCALL_CLOSE),
	BOTH(SYSCALL_EXECVE_19), BOTH(SYSCALL_EXECVEAT), BOTH(SYSCALL_CLONE_20), BOTH(SYSCALL_FORK_20), BOTH(SYSCALL_VFORK_20),
	BOTH(SYSCALL_CLONE3), PPME_PROCEXIT_1_E, BOTH(SOCKET_SOCKET), BOTH(SOCKET_CONNECT), BOTH(SOCKET_SENDTO), BOTH(SOCKET_SENDMSG),
	BOTH(SYSCALL_UNLINK_2), BOTH(SYSCALL_UNLINKAT_2), BOTH(SYSCALL_RENAME), BOTH(SYSCALL_RENAMEAT), BOTH(SYSCALL_RENAMEAT2),
	BOTH(SYSCALL_SYMLINK), BOTH(SYSCALL_SYMLINKAT), BOTH(SYSCALL_LINK_2), BOTH(SYSCALL_LINKAT_2), BOTH(SYSCALL_CHMOD),
	BOTH(SYSCALL_FCHMOD), BOTH(SYSCALL_FCHMODAT), BOTH(SYSCALL_DUP), BOTH(SYSCALL_PTRACE),
	BOTH(SYSCALL_CHDIR), BOTH(SYSCALL_FCHDIR), BOTH(SYSCALL_SETUID), BOTH(SYSCALL_SETGID),
};

static volatile sig_atomic_t ended;

static void end(int signal)
{
	(void)signal;
	ended = 1;
}

static void must(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

int main(void)
{
	int fd = open("/dev/scap0", O_RDWR | O_SYNC);
	struct ppm_ring_buffer_info *info;
	unsigned int i;

	must(fd >= 0, "/dev/scap0");
	must(mmap(NULL, 2 * RING_BUF_SIZE, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED, "its ring");
	info = mmap(NULL, sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(info != MAP_FAILED, "its counters");
	must(!ioctl(fd, PPM_IOCTL_MASK_ZERO_EVENTS), "the mask");
	for (i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
		must(!ioctl(fd, PPM_IOCTL_MASK_SET_EVENT, wanted[i]), "an event of the mask");
	must(!ioctl(fd, PPM_IOCTL_ENABLE_CAPTURE), "the start");
	signal(SIGTERM, end);
	puts("ready");
	fflush(stdout);
	while (!ended) {
		poll(NULL, 0, 10);
		info->tail = info->head;
	}
	printf("%llu events, %llu dropped\n", (unsigned long long)info->n_evts, (unsigned long long)info->n_drops_buffer);
	return 0;
}
