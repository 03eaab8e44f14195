// A consumer of the module that is not the sensor: reads every ring, checks that each stream of records makes sense by
// itself, and counts. Written from kmod/abi.h alone.
//
// usage: reader [--ring BYTES] [--calls NAME,...] [--print NAME] [--hold]
//
//   --ring BYTES   of each ring (default 1 MiB)
//   --calls LIST   system calls to ask for (default mkdirat)
//   --print NAME   a line for each event of this call: cpu, pid, ret, name, arguments, number of ancestors, last ancestor
//   --hold         begin without reading
//
// SIGUSR1: read (again).  SIGUSR2: do not read any more.  SIGTERM, SIGINT: stop the capture, read what there is, end.
// Says "ready" on stdout when the capture is on, "held" when it has stopped reading, "reading" when it reads again. At the
// end one line of JSON: per CPU the events by system call, drops by cause, and what was wrong with the stream.
//
// What it checks, per ring:
//   - lengths: a multiple of 8, at least a header, at most FSN_RECORD_MAX, inside what is published
//   - an event's slot holds a task record of the event's generation, sent earlier in this ring
//   - every exec record that a task record names was sent earlier in this ring
//   - a task record's parts fit into it; times do not run backwards
//   - the producer's own counts equal what was read
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abi.h"
#include "syscalls.h"

#define MAX_CPUS 64
#define EXECS (1u << 16)

struct exec {
	__u64 id;
	char text[160];		/* its arguments, joined */
};

struct slot {
	__u32 gen;
	__s32 pid;
	char comm[FSN_COMM + 1];
	char text[160];
	unsigned int ancestors;
	__s32 last_ancestor;
	int has_exec;
};

static struct cpu {
	int number, fd;
	struct fsn_consumer *consumer;
	const struct fsn_producer *producer;
	const char *data;
	__u64 tail, last_time;
	__u64 events, tasks, execs, resets, lineageless;
	__u64 by_call[FSN_SYSCALLS];
	unsigned int errors;
	char error[200];
	struct slot slots[FSN_SLOTS];
	struct exec *known;	/* hash table by id */
} cpus[MAX_CPUS];
static int ncpus;
static int print_sc = -1;
static volatile sig_atomic_t hold, ending;

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "reader: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void on_signal(int number)
{
	if (number == SIGUSR1)
		hold = 0;
	else if (number == SIGUSR2)
		hold = 1;
	else
		ending = 1;
}

#define wrong(cpu, ...) do { \
	if (!(cpu)->errors++) \
		snprintf((cpu)->error, sizeof((cpu)->error), __VA_ARGS__); \
} while (0)

static struct exec *find_exec(struct cpu *c, __u64 id, int add)
{
	__u32 i = (id * 0x9e3779b97f4a7c15ULL) >> 48;

	for (unsigned int n = 0; n < EXECS; n++, i++) {
		struct exec *e = &c->known[i & (EXECS - 1)];

		if (e->id == id)
			return e;
		if (!e->id) {
			if (!add)
				return NULL;
			e->id = id;
			return e;
		}
	}
	return NULL;
}

/* NUL-terminated texts as one, for people. */
static void join(char *to, size_t size, const char *from, unsigned int len)
{
	unsigned int n = len < size - 1 ? len : size - 1;

	for (unsigned int i = 0; i < n; i++)
		to[i] = from[i] > 32 && from[i] < 127 ? from[i] : from[i] ? '?' : ' ';
	while (n && to[n - 1] == ' ')
		n--;
	to[n] = 0;
}

static void exec_record(struct cpu *c, const struct fsn_exec *r)
{
	struct exec *e;

	c->execs++;
	if (r->h.len < sizeof(*r) + r->exe_len + r->filename_len + r->args_len + r->env_len) {
		wrong(c, "exec record %llu: texts do not fit", r->id);
		return;
	}
	e = find_exec(c, r->id, 1);
	if (!e)
		wrong(c, "more exec records than the reader has room for");
	else
		join(e->text, sizeof(e->text), (const char *)(r + 1) + r->exe_len + r->filename_len, r->args_len);
}

static void task_record(struct cpu *c, const struct fsn_task *r)
{
	const struct fsn_relative *rel = (const struct fsn_relative *)(r + 1);
	struct slot *s;
	struct exec *e = NULL;

	c->tasks++;
	if (r->h.slot >= FSN_SLOTS) {
		wrong(c, "task record for slot %u", r->h.slot);
		return;
	}
	if (r->h.len < sizeof(*r) + r->nrelatives * sizeof(*rel) + r->cwd_len + r->root_len + r->cgroups_len) {
		wrong(c, "task record of %d: parts do not fit", r->tid);
		return;
	}
	s = &c->slots[r->h.slot];
	if (r->gen == s->gen)
		wrong(c, "slot %u: generation %u twice", r->h.slot, r->gen);
	memset(s, 0, sizeof(*s));
	s->gen = r->gen;
	s->pid = r->pid;
	memcpy(s->comm, r->comm, FSN_COMM);
	if (r->exec_id) {
		e = find_exec(c, r->exec_id, 0);
		if (!e)
			wrong(c, "task %d names exec record %llu, not sent", r->tid, r->exec_id);
	}
	s->has_exec = e != NULL;
	if (e)
		memcpy(s->text, e->text, sizeof(s->text));
	for (unsigned int i = 0; i < r->nrelatives; i++) {
		if (rel[i].exec_id && !find_exec(c, rel[i].exec_id, 0))
			wrong(c, "relative %d of task %d names exec record %llu, not sent", rel[i].pid, r->tid,
			      rel[i].exec_id);
		if (!(rel[i].flags & FSN_REL_PARENT))
			continue;
		s->ancestors++;
		s->last_ancestor = rel[i].pid;
	}
	/* complete to init, or to the kernel thread that starts the kernel's helpers */
	if (s->pid != 1 && s->pid != 2 && s->last_ancestor != 1 && s->last_ancestor != 2 &&
	    !(r->flags & FSN_TASK_LINEAGE_CUT))
		c->lineageless++;
}

static void event_record(struct cpu *c, const struct fsn_event *r)
{
	const struct slot *s;

	c->events++;
	if (r->sc < FSN_SYSCALLS)
		c->by_call[r->sc]++;
	if (r->h.slot >= FSN_SLOTS) {
		wrong(c, "event for slot %u", r->h.slot);
		return;
	}
	s = &c->slots[r->h.slot];
	if (s->gen != r->gen)
		wrong(c, "event %u of slot %u, generation %u: slot has %u", r->code, r->h.slot, r->gen, s->gen);
	if (print_sc >= 0 && r->sc == print_sc)
		printf("event %d %d %lld %s [%s] %u %d\n", c->number, s->pid, (long long)r->ret, s->comm, s->text,
		       s->ancestors, s->last_ancestor);
}

static void drain(struct cpu *c)
{
	__u64 head = __atomic_load_n(&c->producer->head, __ATOMIC_ACQUIRE);
	__u32 size = c->producer->data_size;

	if (head - c->tail > size) {
		wrong(c, "head %llu, tail %llu, size %u", head, c->tail, size);
		return;
	}
	while (c->tail != head) {
		const struct fsn_record *r = (const void *)(c->data + (c->tail & (size - 1)));

		if (r->len < sizeof(*r) || r->len & 7 || r->len > FSN_RECORD_MAX || r->len > head - c->tail) {
			wrong(c, "record of %u bytes where %llu are published", r->len, head - c->tail);
			return;
		}
		if (r->time < c->last_time)
			wrong(c, "time runs backwards by %llu ns", c->last_time - r->time);
		c->last_time = r->time;
		switch (r->type) {
		case FSN_REC_EXEC: exec_record(c, (const void *)r); break;
		case FSN_REC_TASK: task_record(c, (const void *)r); break;
		case FSN_REC_EVENT: event_record(c, (const void *)r); break;
		case FSN_REC_RESET: c->resets++; break;
		default: wrong(c, "record of type %u", r->type);
		}
		c->tail += r->len;
		__atomic_store_n(&c->consumer->tail, c->tail, __ATOMIC_RELEASE);
	}
}

static void attach(int number, __u32 ring)
{
	struct cpu *c = &cpus[ncpus++];
	size_t consumer = (sizeof(struct fsn_consumer) + 4095) & ~4095UL;

	c->number = number;
	c->fd = open("/dev/" FSN_DEVICE_NAME, O_RDWR | O_CLOEXEC);
	if (c->fd < 0 || ioctl(c->fd, FSN_IOC_ATTACH, (unsigned long)number))
		fail("attach");
	c->consumer = mmap(NULL, consumer, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, FSN_MMAP_CONSUMER(number));
	c->producer = mmap(NULL, 4096 + 2 * (size_t)ring, PROT_READ, MAP_SHARED, c->fd, FSN_MMAP_PRODUCER(number));
	c->known = calloc(EXECS, sizeof(*c->known));
	if (c->consumer == MAP_FAILED || c->producer == MAP_FAILED || !c->known)
		fail("mmap");
	c->data = (const char *)c->producer + 4096;
}

static const struct fsn_syscall_def *call_named(const char *name)
{
	for (unsigned int i = 0; i < fsn_nr_syscalls; i++)
		if (!strcmp(fsn_syscalls[i].name, name))
			return &fsn_syscalls[i];
	errno = ENOENT;
	fail(name);
}

static void summary(void)
{
	printf("{\"cpus\": [");
	for (int i = 0; i < ncpus; i++) {
		struct cpu *c = &cpus[i];
		const char *comma = "";

		if (c->producer->events != c->events || c->producer->tasks != c->tasks || c->producer->execs != c->execs)
			wrong(c, "producer counts %llu events, %llu tasks, %llu execs", c->producer->events,
			      c->producer->tasks, c->producer->execs);
		printf("%s{\"cpu\": %d, \"events\": %llu, \"tasks\": %llu, \"execs\": %llu, \"lineageless\": %llu, "
		       "\"wakeups\": %llu, \"calls\": {", i ? ", " : "", c->number, c->events, c->tasks, c->execs,
		       c->lineageless, c->producer->wakeups);
		for (unsigned int k = 0; k < fsn_nr_syscalls; k++)
			if (c->by_call[fsn_syscalls[k].sc]) {
				printf("%s\"%s\": %llu", comma, fsn_syscalls[k].name, c->by_call[fsn_syscalls[k].sc]);
				comma = ", ";
			}
		printf("}, \"drops\": [");
		for (int k = 0; k < FSN_DROP_MAX; k++)
			printf("%s%llu", k ? ", " : "", c->producer->drops[k]);
		printf("], \"errors\": %u, \"error\": \"%s\"}", c->errors, c->error);
	}
	printf("]}\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct fsn_config config = {
		.size = sizeof(config), .tracepoints = FSN_TP_SYSCALLS, .features = FSN_CAP_LINEAGE, .snaplen = 80,
		.ring_bytes = 1 << 20, .watermark = 64 << 10, .latency_us = 10000,
	};
	struct sigaction action = { .sa_handler = on_signal };
	char calls[512] = "mkdirat", *rest;
	struct pollfd polls[MAX_CPUS];
	int control, said_held = 0;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--ring") && i + 1 < argc)
			config.ring_bytes = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--calls") && i + 1 < argc)
			snprintf(calls, sizeof(calls), "%s", argv[++i]);
		else if (!strcmp(argv[i], "--print") && i + 1 < argc)
			print_sc = call_named(argv[++i])->sc;
		else if (!strcmp(argv[i], "--hold"))
			hold = 1;
		else
			return 2;
	}
	for (char *name = strtok_r(calls, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
		__u16 sc = call_named(name)->sc;

		config.wanted[sc / 64] |= 1ULL << (sc % 64);
	}
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	for (int i = 0; i < 4; i++)
		sigaction((int[]){ SIGUSR1, SIGUSR2, SIGTERM, SIGINT }[i], &action, NULL);
	control = open("/dev/" FSN_DEVICE_NAME, O_RDWR | O_CLOEXEC);
	if (control < 0 || ioctl(control, FSN_IOC_CONFIG, &config))
		fail("/dev/" FSN_DEVICE_NAME);
	for (int cpu = 0; cpu < MAX_CPUS && cpu < sysconf(_SC_NPROCESSORS_ONLN); cpu++)
		attach(cpu, config.ring_bytes);
	if (ioctl(control, FSN_IOC_START))
		fail("start");
	puts("ready");
	fflush(stdout);
	while (!ending) {
		if (hold != said_held) {
			said_held = hold;
			puts(hold ? "held" : "reading");
			fflush(stdout);
		}
		if (hold) {
			/* short, so that a signal just before it is not missed for long */
			poll(NULL, 0, 50);
			continue;
		}
		for (int i = 0; i < ncpus; i++) {
			drain(&cpus[i]);
			__atomic_store_n(&cpus[i].consumer->sleeping, 1, __ATOMIC_SEQ_CST);
			drain(&cpus[i]);
			polls[i] = (struct pollfd){ .fd = cpus[i].fd, .events = POLLIN };
		}
		if (print_sc >= 0)
			fflush(stdout);
		poll(polls, ncpus, 50);
	}
	if (ioctl(control, FSN_IOC_STOP))
		fail("stop");
	for (int i = 0; i < ncpus; i++)
		drain(&cpus[i]);
	summary();
	return 0;
}
