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

/* Parameter types, in the order of the type enum of the capture format (PT_*). */
enum fsn_type {
	FSN_T_NONE, FSN_T_INT8, FSN_T_INT16, FSN_T_INT32, FSN_T_INT64, FSN_T_UINT8, FSN_T_UINT16,
	FSN_T_UINT32, FSN_T_UINT64, FSN_T_CHARBUF, FSN_T_BYTEBUF, FSN_T_ERRNO, FSN_T_SOCKADDR,
	FSN_T_SOCKTUPLE, FSN_T_FD, FSN_T_PID, FSN_T_FDLIST, FSN_T_FSPATH, FSN_T_SYSCALLID, FSN_T_SIGTYPE,
	FSN_T_RELTIME, FSN_T_ABSTIME, FSN_T_PORT, FSN_T_L4PROTO, FSN_T_SOCKFAMILY, FSN_T_BOOL,
	FSN_T_IPV4ADDR, FSN_T_DYN, FSN_T_FLAGS8, FSN_T_FLAGS16, FSN_T_FLAGS32, FSN_T_UID, FSN_T_GID,
	FSN_T_DOUBLE, FSN_T_SIGSET, FSN_T_MODE, FSN_T_FSRELPATH, FSN_T_ENUMFLAGS8, FSN_T_ENUMFLAGS16,
	FSN_T_ENUMFLAGS32,
};

enum fsn_format { FSN_F_NA, FSN_F_DEC, FSN_F_HEX, FSN_F_OCT, FSN_F_10PAD, FSN_F_ID, FSN_F_DIR };

/*
 * Where the value of a parameter comes from. The scalar ones cost nothing: they are in fsn_event.ret and
 * .args already. The others make the module append an attachment with this parameter's index.
 */
enum fsn_source {
	/* scalars of the record itself */
	FSN_S_ABSENT,		/* not captured: the parameter is empty */
	FSN_S_RET,		/* return value */
	FSN_S_ARG,		/* argument register .arg, as the type says */
	FSN_S_SC,		/* the system call's own id */
	FSN_S_NR,		/* its native number */
	FSN_S_CONST,		/* .arg itself */
	/* of the task record: .arg is enum fsn_task_value */
	FSN_S_TASK,
	/* of another parameter's descriptor attachment: .arg is that parameter's index */
	FSN_S_FD_DEV, FSN_S_FD_INO, FSN_S_FD_SOCK, FSN_S_FD_CREATED,
	/* attachments */
	FSN_S_RET_FD,		/* scalar: return value; attaches the new descriptor when ret >= 0 */
	FSN_S_FD,		/* scalar: argument .arg; attaches the descriptor it names, with both ends of a socket */
	FSN_S_DIRFD,		/* scalar: argument .arg; attaches it unless AT_FDCWD or the path is absolute */
	FSN_S_STR,		/* text at argument .arg */
	FSN_S_STR_RET,		/* text at argument .arg, valid only when ret >= 0 (filled by the kernel) */
	FSN_S_BYTES_RET,	/* buffer at .arg, length ret (reads) */
	FSN_S_BYTES_ARG,	/* buffer at .arg, length in argument .aux (writes); ret bounds it when positive */
	FSN_S_IOV_RET,		/* iovec at .arg, count in .aux, length ret */
	FSN_S_IOV_ARG,		/* iovec at .arg, count in .aux */
	FSN_S_MSG_RET, FSN_S_MSG_ARG,	/* data of struct msghdr at .arg */
	FSN_S_MSG_SIZE,		/* U64: sum of the iovec lengths of the msghdr at .arg */
	FSN_S_IOV_SIZE,		/* U64: sum of the iovec lengths, iovec at .arg, count in .aux */
	FSN_S_MSG_CONTROL,	/* control data of the msghdr at .arg */
	FSN_S_MSG_NAME,		/* SOCKADDR of the msghdr at .arg */
	FSN_S_SOCKADDR,		/* sockaddr at .arg, length in argument .aux */
	FSN_S_SOCKADDR_RET,	/* sockaddr at .arg, length at the pointer in .aux (filled by the kernel) */
	FSN_S_FDPAIR,		/* int[2] at .arg: U64[2], and the first descriptor; .aux 0 or 1 picks which */
	FSN_S_PATH_CWD,		/* PATH: the cwd after the call */
	FSN_S_PATH_ROOT,	/* PATH: the root after the call */
	FSN_S_U64_AT,		/* U64: .aux bytes (1, 2, 4, 8) at pointer .arg */
	FSN_S_STRV,		/* STRV: NULL-terminated vector of texts at .arg */
	FSN_S_SPECIAL,		/* U64 or more by capture.c: .arg is enum fsn_special */
};

/* Values of the task record that old events carry as parameters. */
enum fsn_task_value {
	FSN_V_EXE, FSN_V_ARGS, FSN_V_TID, FSN_V_PID, FSN_V_PTID, FSN_V_CWD, FSN_V_FDLIMIT, FSN_V_COMM,
	FSN_V_CGROUPS, FSN_V_ENV, FSN_V_TTY, FSN_V_VPGID, FSN_V_PGID, FSN_V_LOGINUID, FSN_V_EXEC_FLAGS,
	FSN_V_CAP_INHERITABLE, FSN_V_CAP_PERMITTED, FSN_V_CAP_EFFECTIVE, FSN_V_EXE_INO, FSN_V_EXE_CTIME,
	FSN_V_EXE_MTIME, FSN_V_UID, FSN_V_GID, FSN_V_EUID, FSN_V_EGID, FSN_V_EXEPATH, FSN_V_FILENAME, FSN_V_VTID, FSN_V_VPID,
	FSN_V_PIDNS_INIT_START,
};

/* Values that need code of their own in capture.c. */
enum fsn_special {
	FSN_X_VM_SIZE, FSN_X_VM_RSS, FSN_X_VM_SWAP,	/* KiB */
	FSN_X_PGFT_MAJ, FSN_X_PGFT_MIN,
	FSN_X_CLONE_FLAGS,	/* of clone, fork, vfork, clone3: native CLONE_* */
	FSN_X_RLIMIT_CUR, FSN_X_RLIMIT_MAX,		/* struct rlimit at an argument */
	FSN_X_PRLIMIT_NEW_CUR, FSN_X_PRLIMIT_NEW_MAX, FSN_X_PRLIMIT_OLD_CUR, FSN_X_PRLIMIT_OLD_MAX,
	FSN_X_OPEN_HOW_FLAGS, FSN_X_OPEN_HOW_MODE, FSN_X_OPEN_HOW_RESOLVE,	/* struct open_how */
	FSN_X_URING_PARAMS,	/* struct io_uring_params: sq, cq entries, flags, cpu, idle, features */
	FSN_X_ACCEPT_QUEUE,	/* queue length and maximum of the listening socket */
	FSN_X_PRCTL_STR, FSN_X_PRCTL_INT,
	FSN_X_FSCONFIG_BYTES, FSN_X_FSCONFIG_STR,
	FSN_X_POLL_FDS, FSN_X_PPOLL_TIMEOUT, FSN_X_SIGSET,
	FSN_X_TIMESPEC,		/* struct timespec at argument .aux: ns */
	FSN_X_SOCKOPT_VALUE,
	FSN_X_PIPE_INO,
	FSN_X_QUOTACTL, FSN_X_SEMOP, FSN_X_CAPSET,
	FSN_X_PROCESS_VM_DATA,
	FSN_X_MMSG_DATA, FSN_X_MMSG_SIZE, FSN_X_MMSG_NAME, FSN_X_MMSG_CONTROL,	/* first message of a vector */
	FSN_X_RESUID,		/* three ids at pointers; .aux picks which */
	FSN_X_PIPE2_FLAGS,
	FSN_X_LLSEEK_OFFSET,
	FSN_X_SENDFILE_OFFSET,
	FSN_X_MAX
};

struct fsn_param {
	const char *name;
	__u8 type;		/* enum fsn_type */
	__u8 format;		/* enum fsn_format */
	__u8 source;		/* enum fsn_source */
	__u8 arg;
	__u8 aux;
	__s8 dirfd;		/* FSRELPATH: parameter that is its directory, or -1 */
	__u16 reserved;
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
	const char *category;	/* evt.category */
	const struct fsn_param *params;
	__s16 main_fd;		/* parameter that is "the" descriptor of the event (fd.*), or -1 */
	__s16 main_path;	/* parameter that is "the" path when there is no descriptor, or -1 */
};

/* fsn_syscall_def.flags */
#define FSN_SC_GENERIC		(1u << 0)	/* no event of its own: PPME_GENERIC_X */
#define FSN_SC_IO_DEFAULT_OFF	(1u << 1)	/* high volume: only when asked for by base_syscalls.all */
#define FSN_SC_STATE		(1u << 2)	/* in the original's default state set */
#define FSN_SC_EXEC		(1u << 3)	/* success is reported by sched_process_exec */
#define FSN_SC_SOCKETCALL	(1u << 4)	/* ia32 multiplexer */
#define FSN_SC_URING		(1u << 5)	/* io_uring has an operation for it: .uring */

struct fsn_syscall_def {
	__u16 sc;		/* id, 1..FSN_SYSCALLS-1: ppm_sc of the reference */
	__u16 event;		/* event code */
	const char *name;
	__s16 nr;		/* native number of the architecture compiled for, -1: has none */
	__s16 ia32;		/* i386 numbers of the same call on x86_64, -1: none */
	__s16 ia32_alt;		/* a second one (stat and stat64 style twins) */
	__s16 uring;		/* IORING_OP_* number, -1: none */
	__u32 flags;		/* FSN_SC_* */
};

extern const struct fsn_event_def fsn_events[];
extern const unsigned int fsn_nr_events;
extern const struct fsn_syscall_def fsn_syscalls[];
extern const unsigned int fsn_nr_syscalls;
extern const unsigned int fsn_table_hash;

#endif /* FSN_SYSCALLS_H */
