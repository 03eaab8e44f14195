// A consumer that wants the kernel no good. Every mode checks that the module refuses what it must, and survives the rest.
//
// usage: hostile map               mappings and files that have to be refused, and with what
//        hostile pages SECONDS     writes nonsense to the page it shares with the module, while others make events
//        hostile ioctl SECONDS SEED  ioctls at random
//        hostile hold              opens the device, says its pid, waits for the end of stdin
//
// Prints a line for everything that is not as it should be. Exit status: 0 when there was no such line.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "abi.h"

#define RING (64u << 10)
#define CONSUMER_LEN (((sizeof(struct fsn_consumer) + 4095) & ~4095UL))
#define PRODUCER_LEN (4096 + 2 * (size_t)RING)

static int bad;

// `result` of a call that should have failed with `wanted` (0: succeeded).
#define wants(wanted, call) do { \
	errno = 0; \
	long result_ = (long)(call); \
	int got_ = result_ == -1 ? errno : 0; \
	if (got_ != (wanted)) { \
		printf("line %d: %s: wanted %s, got %s\n", __LINE__, #call, \
		       (wanted) ? strerror(wanted) : "success", got_ ? strerror(got_) : "success"); \
		bad = 1; \
	} \
} while (0)

static _Noreturn void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static int device(void)
{
	int fd = open("/dev/" FSN_DEVICE_NAME, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("/dev/" FSN_DEVICE_NAME);
	return fd;
}

static struct fsn_config valid(void)
{
	struct fsn_config c = {
		.size = sizeof(c), .tracepoints = FSN_TP_SYSCALLS | FSN_TP_PROCEXIT,
		.features = FSN_CAP_ENV | FSN_CAP_DATA | FSN_CAP_LINEAGE, .snaplen = 4096, .ring_bytes = RING,
		.watermark = RING / 4, .latency_us = 1000,
	};

	memset(c.wanted, 0xff, sizeof(c.wanted));
	return c;
}

static void *map(int fd, size_t len, int prot, int flags, __u64 offset)
{
	return mmap(NULL, len, prot, flags, fd, offset);
}

static void refuses_configs(int fd)
{
	struct fsn_config c = valid();

#define refuses(field, value) do { \
	struct fsn_config c_ = valid(); \
	c_.field = value; \
	wants(EINVAL, ioctl(fd, FSN_IOC_CONFIG, &c_)); \
} while (0)
	refuses(size, 0);
	refuses(size, sizeof(c) - 8);
	refuses(size, 1 << 20);
	refuses(ring_bytes, 0);
	refuses(ring_bytes, RING - 1);
	refuses(ring_bytes, RING + 4096);
	refuses(ring_bytes, 32 << 10);
	refuses(ring_bytes, 1u << 30);
	refuses(ring_bytes, 1u << 31);
	refuses(snaplen, 4097);
	refuses(snaplen, ~0u);
	refuses(latency_us, 0);
	refuses(latency_us, ~0u);
	refuses(watermark, 0);
	wants(EFAULT, ioctl(fd, FSN_IOC_CONFIG, NULL));
	wants(EFAULT, ioctl(fd, FSN_IOC_CONFIG, (void *)0xffff800000000000));
	wants(EFAULT, ioctl(fd, FSN_IOC_INFO, NULL));
	wants(ENOTTY, ioctl(fd, FSN_IOC_CONFIG + 0x70, &c));
	wants(ENOTTY, ioctl(fd, 0, &c));
	wants(0, ioctl(fd, FSN_IOC_CONFIG, &c));
}

// A table of conditions that is right: one program, for openat, whose only test is about its path.
struct table {
	struct fsn_filter head;
	struct fsn_test test;
	struct fsn_string string;
	struct fsn_step step;
	struct fsn_set set;
	struct fsn_program program;
	char bytes[4];
} __attribute__((packed));	// a blob ends with its last byte

static struct table valid_table(void)
{
	struct table t = {
		.head = { .size = sizeof(t), .bytes = 4, .tests = 1, .strings = 1, .steps = 1, .sets = 1, .programs = 1 },
		.test = { .kind = FSN_TEST_TEXT, .low = FSN_TEXT_RAW | FSN_TEXT_GIVEN | FSN_TEXT_OPENED },
		.string = { .len = 4 },
		.step = { .yes = FSN_STEP_PASS, .no = FSN_STEP_STOP },
		.set = { .part = { [FSN_SET_PREFIX] = { .count = 1 } } },
		.program = { .steps = 1, .tests = 1, .path = 1, .dirfd = 0, .fd = FSN_REG_RESULT, .access = 2,
			.flags = FSN_PROGRAM_URGENT },
		.bytes = "/etc",
	};

	t.head.program[307] = 1;
	memset(t.set.pairs, 0xff, sizeof(t.set.pairs));	// every text is compared
	return t;
}

static int hand_over(int fd, const void *table, __u32 size)
{
	struct fsn_filter_at at = { .size = size, .address = (__u64)table };

	return ioctl(fd, FSN_IOC_FILTER, &at);
}

static void refuses_tables(int fd)
{
	struct table good = valid_table();

#define refuses_table(field, value) do { \
	struct table t_ = valid_table(); \
	t_.field = value; \
	wants(EINVAL, hand_over(fd, &t_, sizeof(t_))); \
} while (0)
	refuses_table(head.size, sizeof(good) - 1);
	refuses_table(head.size, 0);
	refuses_table(head.bytes, ~0u);
	refuses_table(head.tests, 0);
	refuses_table(head.tests, 0xffff);
	refuses_table(head.strings, 2);
	refuses_table(head.steps, 0);
	refuses_table(head.sets, 0);
	refuses_table(head.programs, 0xffff);
	refuses_table(head.program[0], 2);
	refuses_table(head.program[511], 255);
	refuses_table(test.kind, FSN_TEST_MAX);
	refuses_table(test.kind, 255);
	refuses_table(test.set, 1);
	refuses_table(string.at, 1);
	refuses_table(string.at, ~0u);
	refuses_table(string.len, 0);
	refuses_table(string.len, 5);
	refuses_table(string.len, 0xffff);
	refuses_table(step.yes, 0);		// to itself
	refuses_table(step.no, 1);		// behind its program
	refuses_table(step.test, 1);
	refuses_table(set.part[0].first, 2);
	refuses_table(set.part[1].count, 0xffff);
	refuses_table(set.part[3].count, FSN_NEEDLES_MAX + 1);
	refuses_table(program.step, 1);
	refuses_table(program.steps, 0);
	refuses_table(program.steps, 2);
	refuses_table(program.test, 0xffff);
	refuses_table(program.tests, 0);
	refuses_table(program.tests, 65);
	refuses_table(program.entry[0], 1);	// behind its program
	refuses_table(program.entry[FSN_ENTRY_FAILED], 0xfffd);
	refuses_table(program.access, 6);
	refuses_table(program.path, 6);
	refuses_table(program.dirfd, 6);
	refuses_table(program.fd, 7);
	wants(EINVAL, hand_over(fd, &good, sizeof(good) - 4));
	wants(EINVAL, hand_over(fd, &good, 8));
	wants(EINVAL, hand_over(fd, &good, FSN_FILTER_MAX + 1));
	wants(EINVAL, hand_over(fd, &good, ~0u));
	wants(EFAULT, hand_over(fd, NULL, sizeof(good)));
	wants(EFAULT, hand_over(fd, (void *)0xffffffff81000000, sizeof(good)));
	wants(EFAULT, ioctl(fd, FSN_IOC_FILTER, NULL));
	wants(0, hand_over(fd, &good, sizeof(good)));
	wants(0, hand_over(fd, &good, sizeof(good)));
	wants(0, hand_over(fd, NULL, 0));
	wants(0, hand_over(fd, NULL, 0));
}

static void refuses_seeds(int fd)
{
	char text[16] = "text";
	struct fsn_seed s = { .pid = getpid(), .args_len = 4, .env_len = 4, .exe_len = 4,
		.args = (__u64)text, .env = (__u64)text, .exe = (__u64)text };
	struct fsn_seed t;

	wants(EINVAL, ioctl(fd, FSN_IOC_SEED, &s));	// not started
	wants(0, ioctl(fd, FSN_IOC_START));
	t = s; t.args_len = FSN_ARGS_MAX + 1;
	wants(EINVAL, ioctl(fd, FSN_IOC_SEED, &t));
	t = s; t.env_len = ~0u;
	wants(EINVAL, ioctl(fd, FSN_IOC_SEED, &t));
	t = s; t.exe_len = 1u << 31;
	wants(EINVAL, ioctl(fd, FSN_IOC_SEED, &t));
	t = s; t.args = 0;
	wants(EFAULT, ioctl(fd, FSN_IOC_SEED, &t));
	t = s; t.exe = 0xffffffff81000000;
	wants(EFAULT, ioctl(fd, FSN_IOC_SEED, &t));
	t = s; t.pid = 0x3fffffff;
	wants(ESRCH, ioctl(fd, FSN_IOC_SEED, &t));
	t = s; t.pid = -1;
	wants(ESRCH, ioctl(fd, FSN_IOC_SEED, &t));
	wants(EFAULT, ioctl(fd, FSN_IOC_SEED, NULL));
	wants(0, ioctl(fd, FSN_IOC_STOP));
	wants(0, ioctl(fd, FSN_IOC_STOP));	// again is no error
}

// What a process that is not the consumer gets.
static void refuses_others(const void *mapped)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		wants(EBUSY, open("/dev/" FSN_DEVICE_NAME, O_RDWR));
		fflush(stdout);
		_exit(bad);
	}
	waitpid(child, &status, 0);
	bad |= status != 0;
	child = fork();
	if (child == 0)
		_exit(*(volatile const char *)mapped & 0);	// not copied to children: SIGSEGV
	waitpid(child, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) {
		printf("a child sees the mapping of its parent\n");
		bad = 1;
	}
}

static void mode_map(void)
{
	int control = device(), ring = device(), other = device();
	void *consumer, *producer;

	refuses_configs(control);
	refuses_seeds(control);
	refuses_tables(control);
	// a file without a ring has nothing to map or to wait for
	wants(EINVAL, map(ring, CONSUMER_LEN, PROT_READ, MAP_SHARED, 0));
	if (poll(&(struct pollfd){ .fd = ring, .events = POLLIN }, 1, 0) != 1)
		printf("poll of a file without a ring waits\n"), bad = 1;
	wants(EINVAL, ioctl(ring, FSN_IOC_ATTACH, 4096UL));
	wants(EINVAL, ioctl(ring, FSN_IOC_ATTACH, ~0UL));
	wants(EINVAL, ioctl(ring, FSN_IOC_ATTACH, 1UL << 32));
	wants(0, ioctl(ring, FSN_IOC_ATTACH, 0UL));
	wants(EINVAL, ioctl(ring, FSN_IOC_ATTACH, 0UL));
	wants(EBUSY, ioctl(other, FSN_IOC_ATTACH, 0UL));

	for (size_t len = 4096; len < CONSUMER_LEN + 8192; len += 4096)
		if (len != CONSUMER_LEN)
			wants(EINVAL, map(ring, len, PROT_READ | PROT_WRITE, MAP_SHARED, FSN_MMAP_CONSUMER(0)));
	wants(EINVAL, map(ring, 4096, PROT_READ, MAP_SHARED, FSN_MMAP_PRODUCER(0)));
	wants(EINVAL, map(ring, PRODUCER_LEN - RING, PROT_READ, MAP_SHARED, FSN_MMAP_PRODUCER(0)));
	wants(EINVAL, map(ring, PRODUCER_LEN - 4096, PROT_READ, MAP_SHARED, FSN_MMAP_PRODUCER(0)));
	wants(EINVAL, map(ring, PRODUCER_LEN + 4096, PROT_READ, MAP_SHARED, FSN_MMAP_PRODUCER(0)));
	wants(EINVAL, map(ring, PRODUCER_LEN, PROT_READ, MAP_PRIVATE, FSN_MMAP_PRODUCER(0)));
	wants(EINVAL, map(ring, CONSUMER_LEN, PROT_READ, MAP_PRIVATE, FSN_MMAP_CONSUMER(0)));
	wants(EINVAL, map(ring, CONSUMER_LEN, PROT_READ, MAP_SHARED, 4096));
	wants(EINVAL, map(ring, CONSUMER_LEN, PROT_READ, MAP_SHARED, FSN_MMAP_CONSUMER(1)));
	wants(EINVAL, map(ring, PRODUCER_LEN, PROT_READ, MAP_SHARED, FSN_MMAP_PRODUCER(0) + 4096));
	wants(EPERM, map(ring, PRODUCER_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, FSN_MMAP_PRODUCER(0)));
	wants(EPERM, map(ring, PRODUCER_LEN, PROT_READ | PROT_EXEC, MAP_SHARED, FSN_MMAP_PRODUCER(0)));
	wants(EPERM, map(ring, CONSUMER_LEN, PROT_READ | PROT_EXEC, MAP_SHARED, FSN_MMAP_CONSUMER(0)));

	consumer = map(ring, CONSUMER_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, FSN_MMAP_CONSUMER(0));
	producer = map(ring, PRODUCER_LEN, PROT_READ, MAP_SHARED, FSN_MMAP_PRODUCER(0));
	if (consumer == MAP_FAILED || producer == MAP_FAILED)
		fail("mmap");
	wants(EACCES, mprotect(producer, PRODUCER_LEN, PROT_READ | PROT_WRITE));
	wants(EACCES, mprotect(producer, 4096, PROT_WRITE));
	wants(EACCES, mprotect(producer, PRODUCER_LEN, PROT_READ | PROT_EXEC));
	wants(EACCES, mprotect(consumer, CONSUMER_LEN, PROT_READ | PROT_EXEC));
	wants(EFAULT, mremap(producer, PRODUCER_LEN, PRODUCER_LEN + 4096, MREMAP_MAYMOVE));
	refuses_others(consumer);
	// what is mapped stays when the file goes: first the file, then the mapping
	wants(0, ioctl(control, FSN_IOC_START));
	close(ring);
	memset(consumer, 0xa5, CONSUMER_LEN);
	wants(0, munmap(consumer, CONSUMER_LEN));
	wants(0, munmap(producer, PRODUCER_LEN));
	wants(0, ioctl(other, FSN_IOC_ATTACH, 0UL));	// the ring is free again
	// not through read and write, and not for those who only read
	char byte;
	wants(EINVAL, read(control, &byte, 1));
	wants(EINVAL, write(control, "x", 1));
}

static volatile int stop;

struct shared {
	struct fsn_consumer *consumer;
	const struct fsn_producer *producer;
	int fd;
	unsigned int seed;
};

static __u64 random64(unsigned int *seed)
{
	return (__u64)rand_r(seed) << 62 ^ (__u64)rand_r(seed) << 31 ^ rand_r(seed);
}

static void *nonsense(void *argument)
{
	struct shared *s = argument;
	volatile struct fsn_consumer *c = s->consumer;

	while (!stop) {
		__u64 head = *(volatile __u64 *)&s->producer->head, r = random64(&s->seed);

		switch (r % 12) {
		case 0: c->tail = r; break;
		case 1: c->tail = head; break;
		case 2: c->tail = head - RING; break;
		case 3: c->tail = head - RING - 1; break;
		case 4: c->tail = head + 1; break;
		case 5: c->tail = head - (r >> 32) % RING; break;
		case 6: c->tail = ~0ULL; break;
		case 7: c->sleeping = r >> 32; break;
		case 8: c->reset = r >> 32; break;
		case 9:
			c->interest[r >> 40 & (FSN_SLOTS - 1)].gen = (r >> 8) % 64;
			c->interest[r >> 40 & (FSN_SLOTS - 1)].mask = random64(&s->seed);
			break;
		case 10:
			for (size_t i = 0; i < CONSUMER_LEN / 4; i++)
				((volatile __u32 *)c)[i] = rand_r(&s->seed);
			break;
		case 11: poll(&(struct pollfd){ .fd = s->fd, .events = POLLIN }, 1, r >> 60); break;
		}
	}
	return NULL;
}

static __u64 events_of(const struct fsn_producer *p)
{
	return *(volatile const __u64 *)&p->events;
}

static void mode_pages(int seconds)
{
	int control = device(), n = sysconf(_SC_NPROCESSORS_ONLN);
	struct fsn_config c = valid();
	struct shared *all = calloc(n, sizeof(*all));
	pthread_t *threads = calloc(n, sizeof(*threads));
	__u64 sum = 0;

	if (ioctl(control, FSN_IOC_CONFIG, &c))
		fail("config");
	for (int i = 0; i < n; i++) {
		struct shared *s = &all[i];

		s->fd = device();
		s->seed = i + 1;
		if (ioctl(s->fd, FSN_IOC_ATTACH, (unsigned long)i))
			fail("attach");
		s->consumer = map(s->fd, CONSUMER_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, FSN_MMAP_CONSUMER(i));
		s->producer = map(s->fd, PRODUCER_LEN, PROT_READ, MAP_SHARED, FSN_MMAP_PRODUCER(i));
		if (s->consumer == MAP_FAILED || s->producer == MAP_FAILED)
			fail("mmap");
	}
	if (ioctl(control, FSN_IOC_START))
		fail("start");
	for (int i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, nonsense, &all[i]);
	sleep(seconds);
	stop = 1;
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	// as a good consumer from here on: everything works again
	for (int i = 0; i < n; i++) {
		struct shared *s = &all[i];
		__u64 before = events_of(s->producer);

		sum += before;
		for (int k = 0; k < 200 && events_of(s->producer) == before; k++) {
			memset(s->consumer->interest, 0, sizeof(s->consumer->interest));
			*(volatile __u64 *)&s->consumer->tail = *(volatile __u64 *)&s->producer->head;
			usleep(50000);
		}
		if (events_of(s->producer) == before)
			printf("no event on CPU %d any more\n", i), bad = 1;
		if (s->producer->data_size != RING || s->producer->cpu != (__u32)i)
			printf("the producer's page of CPU %d has changed\n", i), bad = 1;
	}
	if (!sum)
		printf("there were no events at all\n"), bad = 1;
}

static void mode_ioctl(int seconds, unsigned int seed)
{
	time_t end = time(NULL) + seconds;
	static const unsigned long calls[] = {
		FSN_IOC_INFO, FSN_IOC_CONFIG, FSN_IOC_ATTACH, FSN_IOC_START, FSN_IOC_STOP, FSN_IOC_SEED, FSN_IOC_FILTER,
	};
	struct table table;
	struct fsn_filter_at at = { .size = sizeof(table), .address = (__u64)&table };
	char *buffer = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int files[6];

	munmap(buffer + 2 * 4096, 4096);	// what runs over the end is a fault
	for (int i = 0; i < 6; i++)
		files[i] = device();
	while (time(NULL) < end) {
		unsigned long call = calls[rand_r(&seed) % 7], argument;
		int which = rand_r(&seed) % 6;

		for (int i = 0; i < 8192 / 4; i++)
			((int *)buffer)[i] = rand_r(&seed) & rand_r(&seed);
		argument = (unsigned long)buffer + rand_r(&seed) % 4096;
		switch (rand_r(&seed) % 9) {
		case 0: argument = random64(&seed); break;
		case 1: argument = (unsigned long)buffer + 8192 - rand_r(&seed) % 64; break;
		case 2: call = random64(&seed); break;
		case 3: case 4: {
			// nearly right
			struct fsn_config *c = (void *)buffer;

			*c = valid();
			c->ring_bytes = RING << rand_r(&seed) % 4;
			((char *)c)[rand_r(&seed) % 32] = rand_r(&seed);
			if (c->ring_bytes > 1 << 20)
				c->ring_bytes = RING;
			argument = (unsigned long)c;
			break;
		}
		case 5: {
			struct fsn_seed *s = (void *)buffer;

			*s = (struct fsn_seed){
				.pid = rand_r(&seed) % 400, .args_len = rand_r(&seed) % 5000,
				.env_len = rand_r(&seed) % 4096, .exe_len = rand_r(&seed) % 4096,
				.args = (__u64)buffer, .env = (__u64)buffer + 4096, .exe = (__u64)buffer + rand_r(&seed) % 8192,
			};
			argument = (unsigned long)s;
			break;
		}
		case 6: argument = rand_r(&seed) % 8; break;
		case 7:
			// conditions in which nearly everything fits together, under the events of others
			table = valid_table();
			memset(table.head.program, rand_r(&seed) % 2, sizeof(table.head.program));
			for (int i = rand_r(&seed) % 3; i; i--)
				((char *)&table)[rand_r(&seed) % sizeof(table)] = rand_r(&seed);
			call = FSN_IOC_FILTER;
			argument = (unsigned long)&at;
			break;
		}
		// a megabyte of ring for each attach is enough
		if (call == FSN_IOC_CONFIG) {
			struct fsn_config c;

			memcpy(&c, buffer, sizeof(c));
			if (argument == (unsigned long)buffer && c.ring_bytes > 1 << 20)
				continue;
		}
		ioctl(files[which], call, argument);
		if (rand_r(&seed) % 32 == 0) {
			mmap(NULL, 4096UL * (rand_r(&seed) % 64), rand_r(&seed) % 8, 1 + rand_r(&seed) % 2, files[which],
			     (random64(&seed) & 0x3ffffffff) << 31);
		}
		if (rand_r(&seed) % 16 == 0) {
			close(files[which]);
			files[which] = device();
		}
	}
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";

	if (!strcmp(mode, "map"))
		mode_map();
	else if (!strcmp(mode, "pages") && argc == 3)
		mode_pages(atoi(argv[2]));
	else if (!strcmp(mode, "ioctl") && argc == 4)
		mode_ioctl(atoi(argv[2]), atoi(argv[3]));
	else if (!strcmp(mode, "hold")) {
		char c;

		device();
		printf("%d\n", getpid());
		fflush(stdout);
		while (read(0, &c, 1) > 0)
			;
	} else
		return 2;
	return bad;
}
