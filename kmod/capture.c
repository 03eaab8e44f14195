// SPDX-License-Identifier: GPL-2.0
/*
 * What an event carries besides its registers: walks the parameters of its row in syscalls.c and appends the
 * attachment that each one's source asks for.
 *
 * Context: probe. Everything is written in place into the ring; user memory is read through user.c only, and
 * every length that comes from it is bounded where it is used: the program may change it between two reads.
 * Nothing is allocated, locked or kept.
 *
 * An attachment is begun with room for the longest it may get, so that a value is cut only at its own limit
 * and never because the ring happens to be nearly full: then the whole event is lost, and counted.
 */
#include "compat.h"
#include <linux/aio_abi.h>
#include <linux/fcntl.h>
#include <linux/in6.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/quota.h>
#include <linux/socket.h>
#include <linux/uio.h>

#include "filter.h"
#include "sensor.h"
#include "user.h"

#define POLLFDS_MAX	256	/* entries kept of a poll */
#define SOCKOPT_MAX	256	/* bytes kept of an option's value */
#define VECTOR_MAX	1024	/* entries looked at of an iovec (UIO_MAXIOV), of argv and of the environment */

/* The parameter being captured. */
struct cursor {
	struct fsn_out *out;
	const struct fsn_call *call;
	const struct fsn_param *param;
	u8 index;
	bool lost;		/* the ring had no room */
};

/* ---- the caller's memory ----------------------------------------------------------------------------- */

/* Whether structures in user memory have the 32-bit layout: i386, and the x32 calls of their own number. */
static bool layout32(const struct fsn_call *call)
{
	return call->compat || call->nr >= 512;
}

static const void __user *user(unsigned long addr)
{
	return (const void __user *)addr;
}

/* Reads an unsigned integer of 1, 2, 4 or 8 bytes. False (and counted) when it is not there. */
static bool read_uint(const struct cursor *c, unsigned long addr, u32 size, u64 *value)
{
	union {
		u8 u8;
		u16 u16;
		u32 u32;
		u64 u64;
	} v;

	if (!addr)
		return false;
	if (fsn_user_bytes(&v, user(addr), size) < size) {
		fsn_count_fault(c->out->ring);
		return false;
	}
	switch (size) {
	case 1:
		*value = v.u8;
		break;
	case 2:
		*value = v.u16;
		break;
	case 4:
		*value = v.u32;
		break;
	default:
		*value = v.u64;
	}
	return true;
}

/* Reads entry @i of an array of longs (pointers, sizes) in the caller's width. */
static bool read_long(const struct cursor *c, unsigned long addr, u32 i, unsigned long *value)
{
	u32 size = layout32(c->call) ? 4 : sizeof(long);
	u64 v = 0;
	bool ok = addr && read_uint(c, addr + i * size, size, &v);

	*value = v;
	return ok;
}

struct user_iov {
	unsigned long base;
	unsigned long len;
};

static bool read_iov(const struct cursor *c, unsigned long vec, u32 i, struct user_iov *iov)
{
	return read_long(c, vec, 2 * i, &iov->base) && read_long(c, vec, 2 * i + 1, &iov->len);
}

/* The fields of struct msghdr that matter here. */
struct user_msg {
	unsigned long name;
	u32 name_len;
	unsigned long iov;
	unsigned long iov_count;
	unsigned long control;
	unsigned long control_len;
};

static bool read_msg(const struct cursor *c, unsigned long addr, struct user_msg *msg)
{
	/* all fields are long-sized or padded to it: name, name_len, iov, iov_count, control, control_len */
	unsigned long words[6];
	u32 i;

	if (!addr)
		return false;
	for (i = 0; i < ARRAY_SIZE(words); i++)
		if (!read_long(c, addr, i, &words[i]))
			return false;
	msg->name = words[0];
	msg->name_len = words[1];
	msg->iov = words[2];
	msg->iov_count = words[3];
	msg->control = words[4];
	msg->control_len = words[5];
	return true;
}

/* ---- attachments ------------------------------------------------------------------------------------- */

static struct fsn_att *begin(struct cursor *c, u8 kind, u32 want)
{
	struct fsn_att *att;
	u32 room;

	att = fsn_att_begin(c->out, kind, c->index, want, &room);
	if (!att)
		c->lost = true;
	return att;
}

static void put_u64(struct cursor *c, u64 value)
{
	struct fsn_att *att = begin(c, FSN_ATT_U64, sizeof(value));

	if (!att)
		return;
	*(u64 *)(att + 1) = value;
	fsn_att_end(c->out, att, sizeof(value), 0);
}

static void put_uint_at(struct cursor *c, unsigned long addr, u32 size)
{
	u64 value;

	if (read_uint(c, addr, size, &value))
		put_u64(c, value);
}

/* A text that is not there at all is an empty attachment marked FSN_ATT_FAULT; a NULL pointer is none. */
static void put_text(struct cursor *c, unsigned long addr, u32 max)
{
	struct fsn_att *att;
	u16 flags = 0;
	u32 len;

	if (!addr)
		return;
	att = begin(c, FSN_ATT_STR, max);
	if (!att)
		return;
	/* the text that the conditions have judged */
	if (c->call->facts && c->call->facts->read_at == addr && c->call->facts->read_len <= max) {
		len = c->call->facts->read_len;
		memcpy(att + 1, c->call->facts->read, len);
	} else {
		len = fsn_user_text((char *)(att + 1), user(addr), max, &flags, NULL);
	}
	fsn_att_end(c->out, att, len, flags);
}

/* @len bytes at @addr, of which at most @max. */
static void put_memory(struct cursor *c, u8 kind, unsigned long addr, u64 len, u32 max)
{
	u32 want = min_t(u64, len, max), got;
	struct fsn_att *att;
	u16 flags = 0;

	if (!addr || !want)
		return;
	att = begin(c, kind, want);
	if (!att)
		return;
	got = fsn_user_bytes(att + 1, user(addr), want);
	if (got < want)
		flags |= FSN_ATT_FAULT;
	else if (len > want)
		flags |= FSN_ATT_CUT;
	fsn_att_end(c->out, att, got, flags);
}

static void put_sockaddr(struct cursor *c, unsigned long addr, u32 len)
{
	if ((s32)len > 0)
		put_memory(c, FSN_ATT_SOCKADDR, addr, len, sizeof(struct sockaddr_storage));
}

/* Bytes to keep of data; 0: none are wanted. */
static u32 data_limit(void)
{
	if (!(READ_ONCE(fsn_capture_config.features) & FSN_CAP_DATA))
		return 0;
	return min_t(u32, READ_ONCE(fsn_capture_config.snaplen), 4096);
}

static void put_data(struct cursor *c, unsigned long addr, u64 len)
{
	put_memory(c, FSN_ATT_BYTES, addr, len, data_limit());
}

/* The first @len bytes of what an iovec points to. */
static void put_iov_data(struct cursor *c, unsigned long vec, unsigned long count, u64 len)
{
	u32 max = data_limit(), done = 0, want, got, i;
	struct fsn_att *att;
	u16 flags = 0;

	want = min_t(u64, len, max);
	if (!vec || !count || !want)
		return;
	att = begin(c, FSN_ATT_BYTES, want);
	if (!att)
		return;
	for (i = 0; i < count && i < VECTOR_MAX && done < want; i++) {
		struct user_iov iov;
		u32 n;

		if (!read_iov(c, vec, i, &iov)) {
			flags |= FSN_ATT_FAULT;
			break;
		}
		n = min_t(unsigned long, iov.len, want - done);
		got = fsn_user_bytes((char *)(att + 1) + done, user(iov.base), n);
		done += got;
		if (got < n) {
			flags |= FSN_ATT_FAULT;
			break;
		}
	}
	if (done == want && len > want)
		flags |= FSN_ATT_CUT;
	fsn_att_end(c->out, att, done, flags);
}

static void put_iov_size(struct cursor *c, unsigned long vec, unsigned long count)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < count && i < VECTOR_MAX; i++) {
		struct user_iov iov;

		if (!read_iov(c, vec, i, &iov))
			return;
		sum += iov.len;
	}
	put_u64(c, sum);
}

/* A NULL-terminated vector of texts: each with its NUL, FSN_ARGS_MAX bytes in all. */
static void put_vector(struct cursor *c, unsigned long vec)
{
	struct fsn_att *att;
	u32 done = 0, i;
	u16 flags = 0;
	char *text;

	if (!vec)
		return;
	att = begin(c, FSN_ATT_STRV, FSN_ARGS_MAX);
	if (!att)
		return;
	text = (char *)(att + 1);
	for (i = 0;; i++) {
		unsigned long addr;

		if (i == VECTOR_MAX || done == FSN_ARGS_MAX) {
			flags |= FSN_ATT_CUT;
			break;
		}
		if (!read_long(c, vec, i, &addr)) {
			flags |= FSN_ATT_FAULT;
			break;
		}
		if (!addr)
			break;
		done += fsn_user_text(text + done, user(addr), FSN_ARGS_MAX - 1 - done, &flags, NULL);
		text[done++] = 0;
		if (flags)
			break;
	}
	fsn_att_end(c->out, att, done, flags);
}

static void put_fd(struct cursor *c, int fd, u8 role)
{
	if (!fsn_put_fd(c->out, c->index, fd, role, c->call->facts))
		c->lost = true;
}

/* ---- sources that look at more than one argument ---------------------------------------------------- */

/* Bytes of a buffer that a write took, or would have taken. */
static u64 written(const struct fsn_call *call, u64 asked)
{
	return call->ret > 0 ? min_t(u64, asked, call->ret) : asked;
}

static void put_msg(struct cursor *c)
{
	const struct fsn_call *call = c->call;
	struct user_msg msg;

	if (!read_msg(c, call->args[c->param->arg], &msg))
		return;
	switch (c->param->source) {
	case FSN_S_MSG_RET:
		if (call->ret > 0)
			put_iov_data(c, msg.iov, msg.iov_count, call->ret);
		break;
	case FSN_S_MSG_ARG:
		put_iov_data(c, msg.iov, msg.iov_count, written(call, U64_MAX));
		break;
	case FSN_S_MSG_SIZE:
		put_iov_size(c, msg.iov, msg.iov_count);
		break;
	case FSN_S_MSG_NAME:
		put_sockaddr(c, msg.name, msg.name_len);
		break;
	case FSN_S_MSG_CONTROL:
		put_data(c, msg.control, msg.control_len);
		break;
	}
}

static void put_dirfd(struct cursor *c)
{
	const struct fsn_call *call = c->call;
	unsigned long path = call->args[c->param->aux];
	int fd = call->args[c->param->arg];
	char first;

	if (fd == AT_FDCWD)
		return;
	if (path && fsn_user_bytes(&first, user(path), 1) && first == '/')
		return;
	put_fd(c, fd, FSN_ROLE_NONE);
}

static void put_fd_pair(struct cursor *c)
{
	u64 fd;

	if (c->call->ret < 0 ||
	    !read_uint(c, c->call->args[c->param->arg] + 4 * c->param->aux, 4, &fd))
		return;
	put_u64(c, fd);
	put_fd(c, fd, FSN_ROLE_NONE);
}

/* Commands of bpf(2) that return a descriptor. */
static bool bpf_makes_fd(u32 cmd)
{
	switch (cmd) {
	case 0:		/* BPF_MAP_CREATE */
	case 5:		/* BPF_PROG_LOAD */
	case 7:		/* BPF_OBJ_GET */
	case 13:	/* BPF_PROG_GET_FD_BY_ID */
	case 14:	/* BPF_MAP_GET_FD_BY_ID */
	case 17:	/* BPF_RAW_TRACEPOINT_OPEN */
	case 18:	/* BPF_BTF_LOAD */
	case 19:	/* BPF_BTF_GET_FD_BY_ID */
	case 28:	/* BPF_LINK_CREATE */
	case 30:	/* BPF_LINK_GET_FD_BY_ID */
	case 32:	/* BPF_ENABLE_STATS */
	case 33:	/* BPF_ITER_CREATE */
	case 36:	/* BPF_TOKEN_CREATE */
		return true;
	default:
		return false;
	}
}

static bool returns_fd(const struct cursor *c)
{
	const struct fsn_call *call = c->call;

	if (call->ret < 0)
		return false;
	if (c->param->bits & FSN_B_FCNTL_FD)
		return (u32)call->args[1] == F_DUPFD || (u32)call->args[1] == F_DUPFD_CLOEXEC;
	if (c->param->bits & FSN_B_BPF_FD)
		return bpf_makes_fd(call->args[0]);
	return true;
}

static bool has_id16(const struct fsn_call *call)
{
	return call->compat && (call->sc->flags & FSN_SC_ID16) && call->nr == call->sc->ia32;
}

/* ---- specials ------------------------------------------------------------------------------------------ */

static u64 kib(unsigned long pages)
{
	return (u64)pages << (PAGE_SHIFT - 10);
}

static void put_task_number(struct cursor *c, u8 special)
{
	struct mm_struct *mm = current->mm;
	u64 value = 0;

	switch (special) {
	case FSN_X_VM_SIZE:
		value = mm ? kib(mm->total_vm) : 0;
		break;
	case FSN_X_VM_RSS:
		value = mm ? kib(get_mm_rss(mm)) : 0;
		break;
	case FSN_X_VM_SWAP:
		value = mm ? kib(get_mm_counter(mm, MM_SWAPENTS)) : 0;
		break;
	case FSN_X_PGFT_MAJ:
		value = current->maj_flt;
		break;
	case FSN_X_PGFT_MIN:
		value = current->min_flt;
		break;
	}
	put_u64(c, value);
}

static void put_rlimit(struct cursor *c)
{
	unsigned long value;

	if (!read_long(c, c->call->args[1], c->param->aux, &value))
		return;
	if (layout32(c->call) && value == U32_MAX)
		put_u64(c, U64_MAX);
	else
		put_u64(c, value == ULONG_MAX ? U64_MAX : value);
}

static void put_accept_queue(struct cursor *c)
{
	u32 len, max;

	if (c->call->ret < 0 || !fsn_fd_backlog(c->call->args[0], &len, &max))
		return;
	switch (c->param->aux) {
	case 0:
		put_u64(c, max ? min_t(u64, (u64)len * 100 / max, 100) : 0);
		break;
	case 1:
		put_u64(c, len);
		break;
	default:
		put_u64(c, max);
	}
}

static void put_prctl(struct cursor *c, u8 special)
{
	const struct fsn_call *call = c->call;
	u32 option = call->args[0];
	bool is_name = option == PR_SET_NAME || (option == PR_GET_NAME && call->ret >= 0);

	if (special == FSN_X_PRCTL_TEXT) {
		if (is_name)
			put_text(c, call->args[1], TASK_COMM_LEN);
		return;
	}
	switch (option) {
	case PR_SET_NAME:
	case PR_GET_NAME:
		put_u64(c, 0);
		break;
	case PR_GET_CHILD_SUBREAPER:
		if (call->ret >= 0)
			put_uint_at(c, call->args[1], 4);
		break;
	default:
		put_u64(c, call->args[1]);
	}
}

static void put_ptrace_data(struct cursor *c)
{
	const struct fsn_call *call = c->call;
	unsigned long word;

	switch (call->args[0]) {
	case PTRACE_PEEKTEXT:
	case PTRACE_PEEKDATA:
	case PTRACE_PEEKUSR:
		if (call->ret >= 0 && read_long(c, call->args[3], 0, &word))
			put_u64(c, word);
		break;
	default:
		put_u64(c, call->args[3]);
	}
}

/* enum fsconfig_command: what the fourth argument is. */
#define CONFIG_SET_STRING	1
#define CONFIG_SET_BINARY	2
#define CONFIG_SET_PATH		3
#define CONFIG_SET_PATH_EMPTY	4

static void put_fsconfig(struct cursor *c, u8 special)
{
	const struct fsn_call *call = c->call;

	switch ((u32)call->args[1]) {
	case CONFIG_SET_BINARY:
		if (special == FSN_X_FSCONFIG_BYTES)
			put_data(c, call->args[3], (u32)call->args[4]);
		break;
	case CONFIG_SET_STRING:
	case CONFIG_SET_PATH:
	case CONFIG_SET_PATH_EMPTY:
		if (special == FSN_X_FSCONFIG_TEXT)
			put_text(c, call->args[3], FSN_PATH_MAX);
		break;
	}
}

static void put_pollfds(struct cursor *c)
{
	u32 size = sizeof(struct pollfd);

	put_memory(c, FSN_ATT_BYTES, c->call->args[0], (u64)(u32)c->call->args[1] * size,
		   POLLFDS_MAX * size);
}

static void put_timespec(struct cursor *c)
{
	const struct fsn_call *call = c->call;
	unsigned long addr = call->args[c->param->aux];
	bool wide = !call->compat || ((call->sc->flags & FSN_SC_TIME64) && call->nr == call->sc->ia32_alt);
	u32 size = wide ? 8 : 4;
	u64 sec, nsec;

	if (!addr || !read_uint(c, addr, size, &sec) || !read_uint(c, addr + size, size, &nsec))
		return;
	put_u64(c, sec * NSEC_PER_SEC + nsec);
}

static void put_sockopt(struct cursor *c)
{
	const struct fsn_call *call = c->call;
	u64 len = (u32)call->args[4];

	if (c->param->aux && !read_uint(c, call->args[4], 4, &len))
		return;
	if ((s32)len > 0)
		put_memory(c, FSN_ATT_BYTES, call->args[3], len, SOCKOPT_MAX);
}

static void put_sembuf(struct cursor *c)
{
	const struct fsn_call *call = c->call;
	u32 entry = c->param->aux / sizeof(struct sembuf);

	if (call->args[1] && entry < (u32)call->args[2])
		put_uint_at(c, call->args[1] + c->param->aux, 2);
}

/* Commands of quotactl(2), as its first argument has them above the type. */
#define QUOTA_CMD(cmd)	((u32)(cmd) >> 8)

static void put_quota(struct cursor *c, u8 special)
{
	const struct fsn_call *call = c->call;
	unsigned long addr = call->args[3] + c->param->off;
	bool wanted;

	if (!call->args[3])
		return;
	switch (QUOTA_CMD(call->args[0])) {
	case Q_QUOTAON:
		if (special == FSN_X_QUOTA_PATH)
			put_text(c, addr, FSN_PATH_MAX);
		return;
	case Q_GETQUOTA:
		wanted = special == FSN_X_QUOTA_BLOCK && call->ret >= 0;
		break;
	case Q_SETQUOTA:
		wanted = special == FSN_X_QUOTA_BLOCK;
		break;
	case Q_GETINFO:
		wanted = special == FSN_X_QUOTA_INFO && call->ret >= 0;
		break;
	case Q_SETINFO:
		wanted = special == FSN_X_QUOTA_INFO;
		break;
	case Q_GETFMT:
		if (special == FSN_X_QUOTA_FORMAT && call->ret >= 0)
			put_uint_at(c, addr, 4);
		return;
	default:
		return;
	}
	if (wanted)
		put_uint_at(c, addr, c->param->aux);
}

static void put_special(struct cursor *c)
{
	const struct fsn_call *call = c->call;
	u8 special = c->param->arg;

	switch (special) {
	case FSN_X_VM_SIZE:
	case FSN_X_VM_RSS:
	case FSN_X_VM_SWAP:
	case FSN_X_PGFT_MAJ:
	case FSN_X_PGFT_MIN:
		put_task_number(c, special);
		break;
	case FSN_X_RLIMIT:
		put_rlimit(c);
		break;
	case FSN_X_ACCEPT_QUEUE:
		put_accept_queue(c);
		break;
	case FSN_X_PRCTL_TEXT:
	case FSN_X_PRCTL_NUMBER:
		put_prctl(c, special);
		break;
	case FSN_X_PTRACE_DATA:
		put_ptrace_data(c);
		break;
	case FSN_X_FSCONFIG_BYTES:
	case FSN_X_FSCONFIG_TEXT:
		put_fsconfig(c, special);
		break;
	case FSN_X_POLLFDS:
		put_pollfds(c);
		break;
	case FSN_X_TIMESPEC:
		put_timespec(c);
		break;
	case FSN_X_SOCKOPT:
		put_sockopt(c);
		break;
	case FSN_X_SENDFILE_OFFSET:
		put_uint_at(c, call->args[2], call->compat && call->nr == call->sc->ia32 ? 4 : 8);
		break;
	case FSN_X_SEMBUF:
		put_sembuf(c);
		break;
	case FSN_X_QUOTA_PATH:
	case FSN_X_QUOTA_BLOCK:
	case FSN_X_QUOTA_INFO:
	case FSN_X_QUOTA_FORMAT:
		put_quota(c, special);
		break;
	}
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

static void put_param(struct cursor *c)
{
	const struct fsn_param *p = c->param;
	const struct fsn_call *call = c->call;
	const unsigned long *args = call->args;
	u64 len;

	switch (p->source) {
	case FSN_S_RET_FD:
		if (returns_fd(c))
			put_fd(c, call->ret, p->aux);
		break;
	case FSN_S_FD:
		put_fd(c, args[p->arg], p->aux);
		break;
	case FSN_S_DIRFD:
		put_dirfd(c);
		break;
	case FSN_S_FDPAIR:
		put_fd_pair(c);
		break;
	case FSN_S_STR:
		put_text(c, args[p->arg], FSN_PATH_MAX);
		break;
	case FSN_S_EXEC_FILENAME:
		if (call->ret < 0)
			put_text(c, args[p->arg], FSN_PATH_MAX);
		break;
	case FSN_S_EXEC_ARGV:
		if (call->ret < 0 &&
		    (p->aux != FSN_V_ENV || (READ_ONCE(fsn_capture_config.features) & FSN_CAP_ENV)))
			put_vector(c, args[p->arg]);
		break;
	case FSN_S_BYTES_RET:
		if (call->ret > 0)
			put_data(c, args[p->arg], call->ret);
		break;
	case FSN_S_BYTES_ARG:
		put_data(c, args[p->arg], written(call, args[p->aux]));
		break;
	case FSN_S_IOV_RET:
		if (call->ret > 0)
			put_iov_data(c, args[p->arg], args[p->aux], call->ret);
		break;
	case FSN_S_IOV_ARG:
		put_iov_data(c, args[p->arg], args[p->aux], written(call, U64_MAX));
		break;
	case FSN_S_IOV_SIZE:
		put_iov_size(c, args[p->arg], args[p->aux]);
		break;
	case FSN_S_MSG_RET:
	case FSN_S_MSG_ARG:
	case FSN_S_MSG_SIZE:
	case FSN_S_MSG_NAME:
	case FSN_S_MSG_CONTROL:
		put_msg(c);
		break;
	case FSN_S_SOCKADDR:
		put_sockaddr(c, args[p->arg], args[p->aux]);
		break;
	case FSN_S_SOCKADDR_RET:
		if (read_uint(c, args[p->aux], 4, &len))
			put_sockaddr(c, args[p->arg], len);
		break;
	case FSN_S_UINT_AT:
		if (args[p->arg])
			put_uint_at(c, args[p->arg] + p->off, p->aux);
		break;
	case FSN_S_ID_AT:
		put_uint_at(c, args[p->arg], has_id16(call) ? 2 : 4);
		break;
	case FSN_S_SPECIAL:
		put_special(c);
		break;
	default:
		break;
	}
}

/* By event code: its parameters, and those of them, as bits, that may have something to append. The others are scalars. */
static struct {
	const struct fsn_param *params;
	u32 appended;
} rows[FSN_EVENT_CODES];

void fsn_capture_init(void)
{
	const struct fsn_event_def *event;
	unsigned int code, i;

	for (code = 0; code < FSN_EVENT_CODES; code++) {
		event = fsn_event_by_code(code);
		if (!event)
			continue;
		rows[code].params = event->params;
		for (i = 0; i < event->nparams; i++)
			if (event->params[i].source > FSN_S_EXEC_ARG0)
				rows[code].appended |= 1u << i;
	}
}

bool fsn_capture(struct fsn_out *o, const struct fsn_call *call)
{
	const struct fsn_param *params = rows[call->sc->event].params;
	u32 left = rows[call->sc->event].appended;
	struct cursor c = { .out = o, .call = call };

	for (; left && !c.lost; left &= left - 1) {
		c.index = __ffs(left);
		c.param = &params[c.index];
		if ((c.param->bits & FSN_B_SUCCESS) && call->ret < 0)
			continue;
		put_param(&c);
	}
	return !c.lost;
}

/* ---- several messages in one call ------------------------------------------------------------------------ */

u32 fsn_call_messages(const struct fsn_call *call)
{
	return clamp_t(long, call->ret, 1, FSN_MESSAGES_MAX);
}

void fsn_call_message(struct fsn_call *one, const struct fsn_call *call, u32 i)
{
	/* struct mmsghdr: a msghdr, then the bytes sent or received, padded */
	u32 size = layout32(call) ? 32 : 64;
	u32 at = layout32(call) ? 28 : 56;
	u32 len;

	*one = *call;
	if (call->ret < 0)
		return;
	one->args[1] = call->args[1] + i * size;
	one->ret = 0;
	if (fsn_user_bytes(&len, user(one->args[1] + at), sizeof(len)) == sizeof(len))
		one->ret = len;
}
