/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The contract between the falco_sensor module and its one consumer: device, ioctls, the pages they share
 * and the records of a ring. docs/abi.md tells the protocol in words.
 *
 * Included by the module, by bindgen and by C tests. Every struct has the same layout for 32- and 64-bit
 * readers: explicit padding, 8-byte alignment. ring.c holds BUILD_BUG_ONs for the sizes, src/driver/abi.rs
 * tests the same numbers.
 *
 * Change rule: additions at the end of a struct that carries its length, or new record and attachment
 * kinds, bump FSN_ABI_MINOR; anything else bumps FSN_ABI_MAJOR and an older consumer is refused.
 */
#ifndef FSN_ABI_H
#define FSN_ABI_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/ioctl.h>
#else
#include <linux/types.h>
#include <sys/ioctl.h>
#endif

#define FSN_ABI_MAJOR	3
#define FSN_ABI_MINOR	0
#define FSN_DEVICE_NAME	"falco-sensor"

/* ---- shared pages ------------------------------------------------------------------------------- */

/*
 * mmap offsets. Per CPU two areas: the consumer's (read-write) and the producer's page followed by the
 * data area twice in a row (read-only), so that a record never wraps for the reader.
 */
#define FSN_MMAP_CONSUMER(cpu)	((__u64)(cpu) << 32)
#define FSN_MMAP_PRODUCER(cpu)	(((__u64)(cpu) << 32) | (1ULL << 31))

#define FSN_SLOTS		1024	/* task slots per CPU */
#define FSN_SLOT_NONE		0xffff
#define FSN_CLASSES		64	/* interest classes: bits of a slot's mask */

/* Written by the consumer, honoured by the module only while @gen is the slot's own generation. */
struct fsn_interest {
	__u32 gen;		/* generation the mask was computed for; 0 is never a generation */
	__u32 reserved;
	__u64 mask;		/* bit = fsn_config.class[sc]; 0 bit: nobody wants this class of this task */
};

/* The consumer's area. Hostile input to the module: bounded and masked wherever it is read. */
struct fsn_consumer {
	__u64 tail;		/* bytes consumed; release-stored by the consumer */
	__u64 pad0[7];
	__u32 sleeping;		/* 1: wake me at the watermark or the latency bound; the module clears it */
	__u32 reset;		/* changed by the consumer: forget which tasks and execs I was sent */
	__u64 pad1[7];
	struct fsn_interest interest[FSN_SLOTS];
};

/* Why something that should have been recorded was not. One counter per CPU and cause. */
enum fsn_drop {
	FSN_DROP_RING_FULL,	/* no room for an event */
	FSN_DROP_TASK_FULL,	/* no room for the task or exec record an event needs; the event is lost too */
	FSN_DROP_NESTED,	/* a probe interrupted a probe on this CPU */
	FSN_DROP_TOO_LARGE,	/* larger than a record may be even after truncation */
	FSN_DROP_NO_MEMORY,	/* a task's identity could not be stored: its next event tries again */
	FSN_DROP_NO_RING,	/* event on a CPU that has no ring; counted in fsn_info */
	FSN_DROP_MAX = 8
};

/* Why an event that no rule can match was not even built. */
enum fsn_filtered {
	FSN_FILTERED_MASK,	/* by the slot's interest mask */
	FSN_FILTERED_SELF,	/* the consumer's own threads */
	FSN_FILTERED_CALL,	/* by its registers and result: the conditions of its event (struct fsn_filter) */
	FSN_FILTERED_OBJECT,	/* by its paths or its descriptor: the same */
	FSN_FILTERED_MAX = 8
};

/* The producer's page: read-only for the consumer. @head is a copy, the module trusts its private one. */
struct fsn_producer {
	__u64 head;		/* bytes produced; release-stored by the module */
	__u64 pad0[7];
	__u64 events;		/* event records */
	__u64 tasks;		/* task records */
	__u64 execs;		/* exec records */
	__u64 wakeups;
	__u64 faults;		/* user memory that could not be read without sleeping: value missing or cut */
	__u64 truncated;	/* values cut at their limit */
	__u64 drops[FSN_DROP_MAX];
	__u64 filtered[FSN_FILTERED_MAX];
	__u32 data_size;	/* bytes of the data area, a power of two */
	__u32 cpu;
};

/* ---- records ------------------------------------------------------------------------------------- */

enum fsn_record_type {
	FSN_REC_EXEC = 1,	/* struct fsn_exec: one process image, sent once per ring before its first use */
	FSN_REC_TASK,		/* struct fsn_task: what a slot means from here on */
	FSN_REC_EVENT,		/* struct fsn_event */
	FSN_REC_RESET,		/* bare header: everything sent before is forgotten (answer to fsn_consumer.reset) */
};

/* Every record starts with this. @len counts it, is a multiple of 8 and at most FSN_RECORD_MAX. */
struct fsn_record {
	__u32 len;
	__u16 type;
	__u16 slot;		/* task slot, or FSN_SLOT_NONE */
	__u64 time;		/* ns of the module's clock (fsn_info.clock relates it to the wall clock) */
};

#define FSN_RECORD_MAX	(128 * 1024)
#define FSN_COMM	16
#define FSN_PATH_MAX	4096
#define FSN_ARGS_MAX	4096	/* bytes kept of a command line, and of an environment */
#define FSN_LINEAGE_MAX	512	/* ancestors in a task record */

/* fsn_exec.flags */
#define FSN_EXEC_UPPER		(1u << 0)	/* file lies in an overlay's upper layer */
#define FSN_EXEC_LOWER		(1u << 1)	/* ... in a lower layer */
#define FSN_EXEC_MEMFD		(1u << 2)	/* anonymous file in memory */
#define FSN_EXEC_DELETED	(1u << 3)	/* unlinked when the record was made */
#define FSN_EXEC_ARGS_CUT	(1u << 4)
#define FSN_EXEC_ENV_CUT	(1u << 5)
#define FSN_EXEC_ARGS_FAULT	(1u << 6)	/* args could not be read (paged out) */
#define FSN_EXEC_ENV_FAULT	(1u << 7)
#define FSN_EXEC_NO_ENV		(1u << 8)	/* not asked for */
#define FSN_EXEC_SEEDED		(1u << 9)	/* args came from the consumer at its start (FSN_IOC_SEED) */
#define FSN_EXEC_LAZY		(1u << 10)	/* made after the fact, in the process's own context */
#define FSN_EXEC_OUTSIDE	(1u << 11)	/* exe is not below the process's root: path is from its mount */

/* A process image: made at exec in the process's own context, shared by all its forks. */
struct fsn_exec {
	struct fsn_record h;
	__u64 id;		/* never reused while the module is loaded; 0 is no record */
	__u64 prev_id;		/* the image that called exec, or 0 */
	__u64 exec_time;	/* module clock; 0 when older than the module */
	__u64 exe_ino;
	__u64 exe_ctime;	/* wall clock ns */
	__u64 exe_mtime;
	__u32 exe_dev;		/* new_encode_dev */
	__u32 exe_mode;
	__u32 exe_uid;		/* owner, in the initial user namespace */
	__u32 exe_gid;
	__u32 flags;		/* FSN_EXEC_* */
	__s32 pid;		/* tgid at exec */
	__u32 args_total;	/* bytes the process has, of which args_len are here */
	__u32 env_total;
	__u16 exe_len;		/* kernel path of the executable, as the process's root sees it */
	__u16 filename_len;	/* as given to exec */
	__u16 args_len;		/* argv, each NUL-terminated */
	__u16 env_len;
	char comm[FSN_COMM];
	/* char exe[exe_len], filename[filename_len], args[args_len], env[env_len]; no terminators */
};

/* fsn_relative.flags */
#define FSN_REL_SESSION		(1u << 0)	/* leads the task's session (not part of the lineage unless PARENT) */
#define FSN_REL_GROUP		(1u << 1)	/* leads the task's process group */
#define FSN_REL_PARENT		(1u << 2)	/* part of the lineage: entry k is the k-th ancestor, from 1 */
#define FSN_REL_KTHREAD		(1u << 3)
#define FSN_REL_EXITING		(1u << 5)

/* Another process as a task record names it: an ancestor, or the leader of its session or group. */
struct fsn_relative {
	__u64 exec_id;		/* 0: a kernel thread, or not known */
	__u64 start;		/* ns since boot */
	__s32 pid;
	__s32 ppid;
	__s32 vpid;
	__s32 pgid;
	__s32 sid;
	__u32 uid;		/* effective */
	__u32 loginuid;
	__u32 tty;
	__u32 flags;		/* FSN_REL_* */
	__u32 reserved;
	char comm[FSN_COMM];	/* at its last exec or clone */
};

/* fsn_task.flags */
#define FSN_TASK_KTHREAD	(1u << 0)
#define FSN_TASK_COMPAT		(1u << 1)	/* 32-bit program */
#define FSN_TASK_LINEAGE_CUT	(1u << 2)	/* more than FSN_LINEAGE_MAX ancestors */
#define FSN_TASK_CWD_CUT	(1u << 3)
#define FSN_TASK_CWD_DELETED	(1u << 4)
#define FSN_TASK_CHROOT		(1u << 5)	/* root is not the root of its mount: @root says where in it */
#define FSN_TASK_CWD_OUTSIDE	(1u << 6)	/* cwd is not below root */
#define FSN_TASK_NO_EXEC	(1u << 7)	/* exec record could not be made: try again next time */
#define FSN_TASK_CHILD_PIDNS	(1u << 8)	/* what it forks is in another pid namespace than the first one (2.1) */

/*
 * A full snapshot of a task: what a slot means until the next one. Sent before the first event of a task on
 * a CPU and whenever something in it has changed.
 */
struct fsn_task {
	struct fsn_record h;
	__u32 gen;		/* generation of the slot, from 1 */
	__u32 flags;		/* FSN_TASK_* */
	__u64 exec_id;
	__u64 birth_exec_id;	/* exec record of the parent at fork: reparenting does not change it */
	__u64 start;		/* of the thread, ns since boot */
	__u64 pid_start;	/* of the process, ns since boot */
	__u64 pidns_init_start;	/* of its pid namespace's init, ns since boot */
	__u64 cap_inheritable;
	__u64 cap_permitted;
	__u64 cap_effective;
	__u64 fdlimit;
	__s32 tid;
	__s32 pid;
	__s32 ppid;		/* tgid of the real parent */
	__s32 birth_ppid;	/* at fork */
	__s32 pgid;
	__s32 sid;
	__s32 vtid;		/* as its own pid namespace sees them */
	__s32 vpid;
	__s32 vpgid;
	__s32 vsid;
	__u32 uid;
	__u32 euid;
	__u32 suid;
	__u32 fsuid;
	__u32 gid;
	__u32 egid;
	__u32 sgid;
	__u32 fsgid;
	__u32 loginuid;
	__u32 sessionid;
	__u32 tty;		/* new_encode_dev, 0 is none */
	__u32 mnt_ns;		/* always 0: a mount namespace's number is private to the kernel */
	__u32 pid_ns;
	__u32 net_ns;
	__u32 user_ns;
	__u32 uts_ns;
	__u32 ipc_ns;
	__u32 cgroup_ns;
	char comm[FSN_COMM];	/* at the last exec or clone, as Falco's proc.name */
	char comm_now[FSN_COMM];/* what prctl may have made of it */
	__u16 nrelatives;
	__u16 cwd_len;		/* as the task's root sees it */
	__u16 root_len;		/* of its root, within the mount it lies in; "/" when not chrooted */
	__u16 cgroups_len;	/* "controllers=path" strings, each NUL-terminated, the v2 one first as "=path" */
	/* struct fsn_relative relatives[nrelatives]; char cwd[], root[], cgroups[]; no terminators */
};

/* fsn_event.flags */
#define FSN_EVENT_COMPAT	(1u << 0)	/* 32-bit system call on a 64-bit kernel */
#define FSN_EVENT_IO_URING	(1u << 1)	/* reserved: executed by io_uring, not by a system call */
#define FSN_EVENT_TRACEPOINT	(1u << 2)	/* exec, exit, signal: no system call's exit */
#define FSN_EVENT_CUT		(1u << 3)	/* attachments did not all fit */

/*
 * Something that happened. Scalars stand in @ret and @args; which parameter is where is told by the event's
 * row in syscalls.c. What a scalar cannot hold follows as attachments.
 *
 * Success of execve and execveat is reported by the sched_process_exec tracepoint (FSN_EVENT_TRACEPOINT):
 * no attachments, everything is in the slot's exec record. Their failures are system-call exits: filename
 * as FSN_ATT_STR and argv as FSN_ATT_STRV of the parameters' indices. procexit has in @args: status, exit
 * code, signal, core dumped, pid of the new parent of its children. signaldeliver is in the table but never raised (probe.c).
 */
struct fsn_event {
	struct fsn_record h;
	__u32 gen;		/* of the slot */
	__u16 code;		/* event code, fsn_events[] */
	__u16 sc;		/* system call, fsn_syscalls[]; 0 for none */
	__s64 ret;
	__u64 args[6];
	__u32 flags;		/* FSN_EVENT_* */
	__u16 natts;
	__u16 nr;		/* native or 32-bit number as called */
	/* struct fsn_att atts[natts] */
};

enum fsn_att_kind {
	FSN_ATT_STR = 1,	/* text from user memory, without NUL */
	FSN_ATT_BYTES,		/* a buffer's beginning */
	FSN_ATT_U64,		/* one or more __u64 that no argument register holds */
	FSN_ATT_STRV,		/* several texts, each NUL-terminated */
	FSN_ATT_SOCKADDR,	/* struct sockaddr as user memory had it */
	FSN_ATT_FD,		/* struct fsn_fd: a descriptor as the kernel knows it */
	FSN_ATT_PATH,		/* text from the kernel: a path after the call (new cwd, new root) */
};

/* fsn_att.flags */
#define FSN_ATT_CUT	(1u << 0)	/* longer than the limit */
#define FSN_ATT_FAULT	(1u << 1)	/* user memory was not readable: the rest is missing */

/* @len bytes of content follow, then padding to 8. */
struct fsn_att {
	__u8 kind;		/* enum fsn_att_kind */
	__u8 param;		/* index of the event's parameter it belongs to */
	__u16 flags;		/* FSN_ATT_CUT, FSN_ATT_FAULT */
	__u32 len;
};

/* fsn_fd.flags */
#define FSN_FD_DELETED		(1u << 0)	/* path ends in " (deleted)", put there by the kernel */
#define FSN_FD_UPPER		(1u << 1)	/* overlay's upper layer */
#define FSN_FD_LOWER		(1u << 2)
#define FSN_FD_SOCKET		(1u << 3)	/* struct fsn_sock follows, not a path */
#define FSN_FD_OUTSIDE		(1u << 4)	/* not below the task's root: path is from its mount */
#define FSN_FD_CREATED		(1u << 5)	/* this open created the file */
#define FSN_FD_ANON		(1u << 6)	/* no name in a file system: eventfd, epoll, memfd, pidfd ... */

/* A descriptor, resolved through struct file while the system call returned. */
struct fsn_fd {
	__s32 fd;
	__u32 flags;		/* FSN_FD_* */
	__u32 f_flags;		/* O_* of this kernel, as open has them now */
	__u32 mode;		/* st_mode */
	__u32 dev;		/* new_encode_dev */
	__u32 magic;		/* of the file system (statfs f_type) */
	__u64 ino;
	__u32 uid;
	__u32 gid;
	__u32 name_len;		/* length of the path or of struct fsn_sock with its names */
	__u32 nlink;
	/* char path[name_len] as the task's root sees it, or struct fsn_sock */
};

/* fsn_sock.role */
enum fsn_role {
	FSN_ROLE_NONE,
	FSN_ROLE_CLIENT,
	FSN_ROLE_SERVER,
};

/* fsn_sock.flags */
#define FSN_SOCK_ROLE_GUESSED	(1u << 0)	/* from the ports; accept and connect say it for certain */
#define FSN_SOCK_LISTEN		(1u << 1)
#define FSN_SOCK_CONNECTED	(1u << 2)

/* Both ends of a socket. Addresses in network order, IPv4 in the first 4 bytes; ports as numbers. */
struct fsn_sock {
	__u16 family;
	__u16 type;
	__u16 protocol;
	__u8 state;		/* TCP_* */
	__u8 role;		/* enum fsn_role */
	__u32 flags;		/* FSN_SOCK_* */
	__u16 lport;
	__u16 rport;
	__u8 laddr[16];
	__u8 raddr[16];
	__u64 ino;		/* of this socket and, for a unix socket, of its peer */
	__u64 peer_ino;
	__u16 lname_len;	/* unix: names; an abstract one starts with a NUL byte */
	__u16 rname_len;
	__u32 backlog;		/* listening: queue length << 16 | maximum, each cut to 16 bits */
	/* char lname[lname_len], rname[rname_len] */
};

/* ---- ioctls -------------------------------------------------------------------------------------- */

/* Tracepoints a configuration asks for; exec, fork and exit are always attached while started. */
#define FSN_TP_SYSCALLS	(1u << 0)	/* sys_exit */
#define FSN_TP_PROCEXIT	(1u << 1)	/* events of exiting tasks */
#define FSN_TP_TASKS	(1u << 8)	/* only in fsn_info.attached: exec, fork, exit, free */

/* fsn_config.features: captured only when asked for */
#define FSN_CAP_ENV	(1u << 0)	/* environment in exec records */
#define FSN_CAP_DATA	(1u << 1)	/* buffers of read, write, send, recv ... */
#define FSN_CAP_LINEAGE	(1u << 2)	/* ancestors beyond the parent */

#define FSN_SYSCALLS	512		/* upper bound of sc ids */

struct fsn_config {
	__u32 size;			/* sizeof(struct fsn_config) as the caller knows it */
	__u32 tracepoints;		/* FSN_TP_* */
	__u32 features;			/* FSN_CAP_* */
	__u32 snaplen;			/* bytes kept of a buffer, at most 4096 */
	__u32 ring_bytes;		/* per CPU, a power of two from 64 KiB to 512 MiB; before the first attach */
	__u32 watermark;		/* bytes in the ring that wake a sleeping consumer */
	__u32 latency_us;		/* or this long after the first record it has not seen */
	__u32 reserved;
	__u64 wanted[FSN_SYSCALLS / 64];/* bit = sc: capture it */
	__u8 class[FSN_SYSCALLS];	/* interest class of each sc, 0..63 */
};

#define FSN_VERSION_LEN	32

struct fsn_info {
	__u32 size;
	__u16 abi_major;
	__u16 abi_minor;
	__u32 table_hash;	/* of syscalls.c: module and consumer must be built from the same table */
	__u32 nr_cpus;		/* highest possible CPU + 1 */
	__s32 consumer;		/* tgid of the process that has the device open, 0 if none */
	__u32 attached;		/* FSN_TP_* and exec/fork/exit as attached now */
	__u64 clock;		/* module clock, ns: now */
	__u64 execs_live;	/* exec records in memory */
	__u64 threads_live;	/* task identities in memory */
	__u64 no_ring;		/* events on a CPU without a ring */
	__u64 no_memory;	/* identities that could not be stored, all CPUs */
	char version[FSN_VERSION_LEN];
};

/* A process older than the module, as /proc tells it; refused when the kernel knows better. */
struct fsn_seed {
	__s32 pid;
	__u32 args_len;		/* at most FSN_ARGS_MAX each */
	__u32 env_len;
	__u32 exe_len;
	__u64 args;		/* user pointers */
	__u64 env;
	__u64 exe;
};

/* ---- necessary conditions -------------------------------------------------------------------------- */

/*
 * What must hold of a call for any rule to match it, by event code. One blob: this header, then the arrays in the
 * order of their counts, without gaps: tests, strings, steps, sets, programs, bytes. The module checks every number in it
 * before the first use, and takes whatever it cannot tell (memory that is not readable, a path it cannot make
 * absolute as text) as "may hold".
 */
#define FSN_FILTER_CODES	512
#define FSN_FILTER_MAX		(512 * 1024)	/* bytes of a blob */

struct fsn_filter {
	__u32 size;		/* bytes of the blob, this header included */
	__u32 bytes;		/* of text, at the end */
	__u16 tests;
	__u16 strings;
	__u16 steps;
	__u16 sets;
	__u16 programs;
	__u16 reserved[3];
	__u8 program[FSN_FILTER_CODES];	/* by event code: 1 + its program; 0: everything passes */
};

enum fsn_test_kind {
	FSN_TEST_RESULT,	/* low <= result <= high */
	FSN_TEST_ACCESS,	/* bit (register & 3) of low */
	FSN_TEST_BITS,		/* (u32)register has a bit of low */
	FSN_TEST_VALUE,		/* low <= (s32)register <= high */
	FSN_TEST_SOCKET,	/* the descriptor is of a kind whose bit (FSN_KIND_*) is in low, or none */
	FSN_TEST_TEXT,		/* one of the texts whose bits (FSN_TEXT_*) are in low is in the set */
	FSN_TEST_PORT,		/* low <= port <= high for one of those that reg names (FSN_PORT_*), or it is not known */
	FSN_TEST_MAX
};

/* Kinds of a descriptor, as far as a test tells them. */
#define FSN_KIND_FILE	(1u << 0)	/* no socket */
#define FSN_KIND_INET	(1u << 1)
#define FSN_KIND_INET6	(1u << 2)
#define FSN_KIND_UNIX	(1u << 3)
#define FSN_KIND_NETLINK (1u << 4)
#define FSN_KIND_OTHER	(1u << 5)	/* a socket of another family */

/* fsn_test.reg of FSN_TEST_PORT. They are known of connected IP sockets. */
#define FSN_PORT_LOCAL	(1u << 0)
#define FSN_PORT_REMOTE	(1u << 1)

#define FSN_TEXT_RAW	(1u << 0)	/* the path as the program gave it */
#define FSN_TEXT_GIVEN	(1u << 1)	/* made absolute as text */
#define FSN_TEXT_OPENED	(1u << 2)	/* of the descriptor, from the kernel */

struct fsn_test {
	__u8 kind;		/* enum fsn_test_kind */
	__u8 reg;		/* 0..5, where the kind says so */
	__u16 set;		/* TEXT */
	__u32 reserved;
	__s64 low;
	__s64 high;
};

/* A text of the blob: @len bytes, @at behind the start of its bytes. */
struct fsn_string {
	__u32 at;
	__u16 len;		/* 1..FSN_STRING_MAX */
	__u16 reserved;
};

#define FSN_STRING_MAX	1024
#define FSN_NEEDLES_MAX	64	/* contained texts of one set */
/*
 * Before texts are compared: two bytes of a text, as a mark. Of prefixes two that stand at the same place in all of them (fsn_set.step), of
 * suffixes the last two from the end; a text of one byte has the marks of all that may stand beside it. Of exact texts the last byte and the
 * length. Of contained ones as many pairs from their beginning as places are passed over (fsn_set.step), one at least.
 */
#define FSN_PAIRS	1024
#define FSN_PAIR(a, b)	(((__u32)(a) << 5 ^ (__u32)(b)) % FSN_PAIRS)

enum fsn_set_part {
	FSN_SET_EXACT,		/* sorted */
	FSN_SET_PREFIX,		/* sorted; none begins with another */
	FSN_SET_SUFFIX,		/* sorted by their bytes from the last to the first; none ends in another */
	FSN_SET_CONTAINED,	/* without those of the next part */
	FSN_SET_DOTTED,		/* contained, with two of '.' and '/' side by side: most paths have none */
	FSN_SET_PARTS
};

/* Texts: a text is in the set when one of its parts has it. A part that is not sorted as it should be finds less. */
struct fsn_set {
	struct {
		__u16 first;	/* string */
		__u16 count;
	} part[FSN_SET_PARTS];
	__u8 pairs[FSN_PAIRS];	/* by FSN_PAIR: for which parts (as bits) a text has it */
	/*
	 * by part: of prefixes, where their pair begins; contained texts are looked for at every so manieth place, as each is longer than
	 * that; 0: at every one
	 */
	__u8 step[FSN_SET_PARTS];
	__u8 reserved[7];
};

#define FSN_STEP_PASS	0xffff
#define FSN_STEP_STOP	0xfffe

/* Where to go on, by the answer of a test: a later step of the program, or an end. */
struct fsn_step {
	__u16 test;
	__u16 yes;
	__u16 no;
	__u16 reserved;
};

#define FSN_PROGRAM_TESTS	64
#define FSN_PROGRAM_STEPS	1024
#define FSN_REG_RESULT	6
#define FSN_REG_NONE	0xff

/* Where a program begins, by what each call says of itself: one that failed, else by the access mode (O_ACCMODE) in a register. */
#define FSN_ENTRY_FAILED	4
#define FSN_ENTRIES	5

#define FSN_PROGRAM_URGENT	(1u << 0)	/* what passes is likely to match: a sleeping consumer is woken at once */

/* The conditions of the events that share them. */
struct fsn_program {
	__u16 step;		/* first of its steps */
	__u16 steps;
	__u16 test;		/* first of its tests */
	__u16 entry[FSN_ENTRIES];	/* step, or an end; the first one where there is no access mode */
	__u8 access;		/* register of the access mode, or FSN_REG_NONE */
	__u8 tests;
	__u8 path;		/* register of the path's address, or FSN_REG_NONE */
	__u8 dirfd;		/* register of the directory that a relative path starts at; NONE: the current one */
	__u8 fd;		/* register of the descriptor, or FSN_REG_RESULT, or NONE */
	__u8 flags;		/* FSN_PROGRAM_* */
};

/* Hands over a blob; size 0: none any more, everything passes. */
struct fsn_filter_at {
	__u32 size;
	__u32 reserved;
	__u64 address;		/* user pointer */
};

#define FSN_IOC_INFO	_IOR('N', 0x51, struct fsn_info)
#define FSN_IOC_CONFIG	_IOW('N', 0x52, struct fsn_config)	/* -EBUSY while another process consumes */
#define FSN_IOC_ATTACH	_IO('N', 0x53)				/* argument: cpu; binds this file to its ring */
#define FSN_IOC_START	_IO('N', 0x54)				/* attach the tracepoints */
#define FSN_IOC_STOP	_IO('N', 0x55)
#define FSN_IOC_SEED	_IOW('N', 0x56, struct fsn_seed)
#define FSN_IOC_FILTER	_IOW('N', 0x57, struct fsn_filter_at)

#endif /* FSN_ABI_H */
