/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The schema of syscalls.c: the one table of events, their parameters and the system calls that raise them.
 *
 * Plain constant data, compiled into the module (which reads .source to know what to capture) and into the
 * Rust programs (which read everything else). No pointers to functions, no kernel types.
 */
#ifndef FSN_SYSCALLS_H
#define FSN_SYSCALLS_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <linux/types.h>
#endif

/* Parameter types, numbered as the type enum of the capture format (PT_*). */
enum fsn_type {
	FSN_T_NONE, FSN_T_INT8, FSN_T_INT16, FSN_T_INT32, FSN_T_INT64, FSN_T_UINT8, FSN_T_UINT16,
	FSN_T_UINT32, FSN_T_UINT64, FSN_T_CHARBUF, FSN_T_BYTEBUF, FSN_T_ERRNO, FSN_T_SOCKADDR,
	FSN_T_SOCKTUPLE, FSN_T_FD, FSN_T_PID, FSN_T_FDLIST, FSN_T_FSPATH, FSN_T_SYSCALLID, FSN_T_SIGTYPE,
	FSN_T_RELTIME, FSN_T_ABSTIME, FSN_T_PORT, FSN_T_L4PROTO, FSN_T_SOCKFAMILY, FSN_T_BOOL,
	FSN_T_IPV4ADDR, FSN_T_DYN, FSN_T_FLAGS8, FSN_T_FLAGS16, FSN_T_FLAGS32, FSN_T_UID, FSN_T_GID,
	FSN_T_DOUBLE, FSN_T_SIGSET, FSN_T_CHARBUFARRAY, FSN_T_CHARBUF_PAIR_ARRAY, FSN_T_IPV4NET,
	FSN_T_IPV6ADDR, FSN_T_IPV6NET, FSN_T_IPADDR, FSN_T_IPNET, FSN_T_MODE, FSN_T_FSRELPATH,
	FSN_T_ENUMFLAGS8, FSN_T_ENUMFLAGS16, FSN_T_ENUMFLAGS32, FSN_T_PID32, FSN_T_FD32,
};

enum fsn_format { FSN_F_NA, FSN_F_DEC, FSN_F_HEX, FSN_F_OCT, FSN_F_10PAD, FSN_F_ID, FSN_F_DIR };

/*
 * Where the value of a parameter comes from. The scalar ones cost nothing: they are in fsn_event.ret and
 * .args already. The others make the module append an attachment with this parameter's index; a parameter
 * without its attachment is empty (the pointer was NULL, the descriptor closed, the call failed).
 *
 * Scalars are raw: symbols of this kernel's ABI, and of a register only the width of the C parameter counts
 * (32 bits for descriptors, ids, modes, flags; 64 for sizes, offsets, addresses). A parameter with a class
 * (.flags) is translated by it in user space (src/event/flags.rs), before the width of its type applies.
 */
enum fsn_source {
	/* scalars of the record itself */
	FSN_S_ABSENT,		/* not captured: the parameter is empty */
	FSN_S_RET,		/* return value */
	FSN_S_ARG,		/* argument .arg, as the type says */
	FSN_S_OPEN_MODE,	/* argument .arg, but 0 unless argument .aux has O_CREAT or O_TMPFILE */
	FSN_S_SC,		/* the system call's own id */
	FSN_S_NR,		/* its number as called */
	FSN_S_CONST,		/* .arg itself */
	/* of the task record: .arg is enum fsn_task_value */
	FSN_S_TASK,
	/* of the descriptor attached to another parameter: .arg is that parameter's index */
	FSN_S_FD_DEV, FSN_S_FD_INO, FSN_S_FD_PATH,
	FSN_S_FD_LAYER,		/* FSN_FD_UPPER, FSN_FD_LOWER */
	FSN_S_FD_SOCK,		/* both ends of the socket */
	/* of an execve or execveat: on success the task record's value .aux, on failure what was asked for */
	FSN_S_EXEC_ARG0,	/* the first text of the attachment of parameter .arg */
	FSN_S_EXEC_ARGV,	/* STRV: NULL-terminated vector of texts at .arg (ENV: only with FSN_CAP_ENV) */
	FSN_S_EXEC_FILENAME,	/* STR: text at .arg */
	/* descriptors: scalar and attachment. .aux is enum fsn_role where the call tells it */
	FSN_S_RET_FD,		/* return value; FD: the new descriptor when ret >= 0 */
	FSN_S_FD,		/* argument .arg; FD: the descriptor it names */
	FSN_S_DIRFD,		/* argument .arg; FD: unless AT_FDCWD or the path at argument .aux is absolute */
	FSN_S_FDPAIR,		/* U64: number .aux (0, 1) of the int[2] at .arg when ret >= 0, and its FD */
	/* attachments */
	FSN_S_STR,		/* STR: text at .arg */
	FSN_S_BYTES_RET,	/* BYTES: buffer at .arg, length ret (reads) */
	FSN_S_BYTES_ARG,	/* BYTES: buffer at .arg, length in argument .aux (writes), at most ret if positive */
	FSN_S_IOV_RET,		/* BYTES: iovec at .arg, count in .aux, length ret */
	FSN_S_IOV_ARG,		/* BYTES: iovec at .arg, count in .aux, at most ret if positive */
	FSN_S_IOV_SIZE,		/* U64: sum of the lengths of the iovec at .arg, count in .aux */
	FSN_S_MSG_RET, FSN_S_MSG_ARG,	/* BYTES: the same of the struct msghdr at .arg */
	FSN_S_MSG_SIZE,		/* U64: the same of the struct msghdr at .arg */
	FSN_S_MSG_NAME,		/* SOCKADDR of the msghdr at .arg */
	FSN_S_MSG_CONTROL,	/* BYTES: control data of the msghdr at .arg */
	/*
	 * An address. For a parameter of type SOCKTUPLE it is the peer, to be put in the place of the remote end
	 * of the main descriptor's socket; without attachment the socket's own ends are the value.
	 */
	FSN_S_SOCKADDR,		/* SOCKADDR: at .arg, length in argument .aux */
	FSN_S_SOCKADDR_RET,	/* SOCKADDR: at .arg, length at the pointer in .aux */
	FSN_S_UINT_AT,		/* U64: unsigned integer of .aux bytes (4, 8), .off bytes behind pointer .arg */
	FSN_S_ID_AT,		/* U64: user or group id at pointer .arg */
	FSN_S_SPECIAL,		/* .arg is enum fsn_special */
};

/* Values of the task record that old events carry as parameters. */
enum fsn_task_value {
	FSN_V_EXE, FSN_V_ARGS, FSN_V_TID, FSN_V_PID, FSN_V_PTID, FSN_V_CWD, FSN_V_FDLIMIT, FSN_V_COMM,
	FSN_V_CGROUPS, FSN_V_ENV, FSN_V_TTY, FSN_V_VPGID, FSN_V_PGID, FSN_V_LOGINUID, FSN_V_EXEC_FLAGS,
	FSN_V_CAP_INHERITABLE, FSN_V_CAP_PERMITTED, FSN_V_CAP_EFFECTIVE, FSN_V_EXE_INO, FSN_V_EXE_CTIME,
	FSN_V_EXE_MTIME, FSN_V_UID, FSN_V_GID, FSN_V_EUID, FSN_V_EGID, FSN_V_EXEPATH, FSN_V_FILENAME,
	FSN_V_VTID, FSN_V_VPID, FSN_V_PIDNS_INIT_START,
};

/* Values that need code of their own in capture.c. U64 unless said otherwise. */
enum fsn_special {
	FSN_X_VM_SIZE, FSN_X_VM_RSS, FSN_X_VM_SWAP,	/* KiB */
	FSN_X_PGFT_MAJ, FSN_X_PGFT_MIN,	/* of the thread */
	FSN_X_RLIMIT,		/* .aux 0 soft, 1 hard: struct rlimit at argument 1; ~0 is no limit */
	FSN_X_ACCEPT_QUEUE,	/* .aux 0 percent, 1 length, 2 maximum, of the listening socket, argument 0 */
	FSN_X_PRCTL_TEXT,	/* STR: second argument where it is a text */
	FSN_X_PRCTL_NUMBER,	/* second argument where it is a number, or the number it points to */
	FSN_X_PTRACE_DATA,	/* fourth argument, or for PEEK* the word read */
	FSN_X_FSCONFIG_BYTES,	/* BYTES: value of FSCONFIG_SET_BINARY */
	FSN_X_FSCONFIG_TEXT,	/* STR: value of FSCONFIG_SET_STRING, SET_PATH, SET_PATH_EMPTY */
	FSN_X_POLLFDS,		/* BYTES: struct pollfd[] at argument 0, count in 1 */
	FSN_X_TIMESPEC,		/* ns, struct timespec at argument .aux */
	FSN_X_SOCKOPT,		/* BYTES: option value at argument 3, length in (.aux 0) or at (.aux 1) argument 4 */
	FSN_X_SENDFILE_OFFSET,	/* at argument 2 */
	FSN_X_SEMBUF,		/* 2 bytes, .aux bytes behind the struct sembuf[] at argument 1, if it is that long */
	FSN_X_QUOTA_PATH,	/* STR: file of Q_QUOTAON */
	FSN_X_QUOTA_BLOCK,	/* .aux bytes, .off bytes into the struct if_dqblk of Q_GETQUOTA, Q_SETQUOTA */
	FSN_X_QUOTA_INFO,	/* .aux bytes, .off bytes into the struct if_dqinfo of Q_GETINFO, Q_SETINFO */
	FSN_X_QUOTA_FORMAT,	/* result of Q_GETFMT */
	FSN_X_MAX
};

/* fsn_param.bits */
#define FSN_B_SUCCESS		(1u << 0)	/* filled by the kernel: absent when ret < 0 */
#define FSN_B_FCNTL_FD		(1u << 1)	/* ret is a descriptor only for the commands of fcntl that */
#define FSN_B_BPF_FD		(1u << 2)	/* ... of bpf that make one */
#define FSN_B_NUMBER		(1u << 3)	/* translated by its class, but shown as a number without symbols */

struct fsn_param {
	const char *name;
	__u8 type;		/* enum fsn_type */
	__u8 format;		/* enum fsn_format */
	__u8 source;		/* enum fsn_source */
	__u8 arg;
	__u8 aux;
	__s8 dirfd;		/* FSRELPATH: parameter that is its directory, or -1 */
	__u8 bits;		/* FSN_B_* */
	__u8 off;
	const char *flags;	/* class of symbols in src/event/flags.rs, or 0 */
};

/* fsn_event_def.props */
#define FSN_P_SYSCALL		(1u << 0)
#define FSN_P_TRACEPOINT	(1u << 1)
#define FSN_P_USES_FD		(1u << 2)
#define FSN_P_CREATES_FD	(1u << 3)
#define FSN_P_DESTROYS_FD	(1u << 4)
#define FSN_P_READS_FD		(1u << 5)
#define FSN_P_WRITES_FD		(1u << 6)
#define FSN_P_MODIFIES_STATE	(1u << 7)
#define FSN_P_WAITS		(1u << 8)

struct fsn_event_def {
	__u16 code;
	__u16 nparams;
	__u32 props;		/* FSN_P_* */
	const char *name;	/* evt.type */
	const char *category;	/* evt.category; io_read, io_write, io_other: that of the descriptor's type */
	const struct fsn_param *params;
	__s16 main_fd;		/* parameter that is "the" descriptor of the event (fd.*), or -1 */
	__s16 main_path;	/* parameter that is the path of a call with one path, or -1 */
	__s16 path_source;	/* of a call with two paths: the parameters of fs.path.source and .target, or -1 */
	__s16 path_target;
};

/* fsn_syscall_def.flags */
#define FSN_SC_GENERIC		(1u << 0)	/* no event of its own: PPME_GENERIC_X */
#define FSN_SC_IO_DEFAULT_OFF	(1u << 1)	/* high volume: only when asked for by base_syscalls.all */
#define FSN_SC_STATE		(1u << 2)	/* in the original's default state set */
#define FSN_SC_EXEC		(1u << 3)	/* success is reported by sched_process_exec */
#define FSN_SC_SOCKETCALL	(1u << 4)	/* ia32 multiplexer: socketcall, ipc */
#define FSN_SC_MESSAGES		(1u << 5)	/* sendmmsg, recvmmsg: one event per message */
#define FSN_SC_ID16		(1u << 6)	/* as .ia32 its ids have 16 bits */
#define FSN_SC_TIME64		(1u << 7)	/* as .ia32_alt its times have 64 bits */
#define FSN_SC_TRACEPOINT	(1u << 8)	/* no system call: only has an id to be asked for by */

struct fsn_syscall_def {
	__u16 sc;		/* id, 1..FSN_SYSCALLS-1: ppm_sc of the reference */
	__u16 event;		/* event code */
	const char *name;
	__s16 nr;		/* native number of the architecture compiled for, -1: has none */
	__s16 ia32;		/* i386 number of the same call on x86_64, -1: none */
	__s16 ia32_alt;		/* a second one (stat and stat64 style twins) */
	__s16 uring;		/* IORING_OP_* number, -1: none */
	__u32 flags;		/* FSN_SC_* */
};

extern const struct fsn_event_def fsn_events[];
extern const unsigned int fsn_nr_events;
extern const struct fsn_syscall_def fsn_syscalls[];
extern const unsigned int fsn_nr_syscalls;

#define FSN_NUMBERS	548	/* bound of system-call numbers, x32's included */
#define FSN_EVENT_CODES	512

/* Before any of the look-ups, once. */
void fsn_lookup_init(void);
/* Rows by system-call number (native, or of i386 on x86_64), by id, by event code; 0: there is none. */
const struct fsn_syscall_def *fsn_syscall_by_nr(unsigned long nr, int ia32);
const struct fsn_syscall_def *fsn_syscall_by_sc(unsigned int sc);
const struct fsn_event_def *fsn_event_by_code(unsigned int code);

/* Over all rows: tells whether the module and its consumer were built from the same table. */
__u32 fsn_table_hash_compute(void);

#endif /* FSN_SYSCALLS_H */
