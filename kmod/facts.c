// SPDX-License-Identifier: GPL-2.0
/*
 * What conditions (filter.c) ask about a call: its path as given and as opened, what its descriptor is, and its ports. And opens
 * that were stopped a moment ago, for which nothing is asked.
 *
 * Texts are those that the consumer would make of the record (src/event): a path as given is made absolute only where that is
 * joining two tidy texts, everything else is UNKNOWN and passes. A record of the call gets the text that was judged here,
 * whatever the program has changed it to since, and the path of a file that only current can have closed.
 *
 * Context: probe. Texts stay in the buffer of this CPU until fsn_leave().
 */
#include "compat.h"
#include <linux/fcntl.h>
#include <linux/hash.h>

#include "facts.h"
#include "ring.h"
#include "sensor.h"
#include "user.h"

/* Longer ones are given other names by the consumer. */
#define GIVEN_MAX	1024

/* The parts of the buffer; the raw path with room for what is read beyond its limit. */
#define RAW_AT		0
#define GIVEN_AT	(2 * GIVEN_MAX)
#define OPENED_AT	FSN_PATH_MAX
#define BASE_AT		(2 * FSN_PATH_MAX)

static void known(struct fsn_fact_text *text, const char *at, u32 len, bool dotted)
{
	text->text = at;
	text->len = len;
	text->state = FSN_FACT_KNOWN;
	text->dotted = dotted;
}

/* Name by name. */
static bool names_are_tidy(const char *path, u32 len)
{
	const char *end = path + len;
	const char *at = path;

	if (at < end && *at == '/')
		at++;
	for (;;) {
		const char *slash = memchr(at, '/', end - at);
		u32 n = (slash ? slash : end) - at;

		if (!n || (at[0] == '.' && (n == 1 || (n == 2 && at[1] == '.'))))
			return false;
		if (!slash)
			return true;
		at = slash + 1;
	}
}

/*
 * Whether no name in the path is empty, "." or "..": what such a text means is what it says. "/" is not tidy here. @dotted as
 * fsn_user_text() has it.
 */
static bool tidy(const char *path, u32 len, u64 dotted)
{
	if (likely(!dotted && path[0] != '.' && path[len - 1] != '/'))
		return true;
	return names_are_tidy(path, len);
}

/* The path of a directory that has one: absolute, not deleted. */
static const char *directory_text(const struct fsn_facts *f, const struct path *path, u32 *len)
{
	const char *text = "";
	u32 flags = 0;

	*len = fsn_path_text(f->ring, path, f->ring->facts + BASE_AT, FSN_PATH_MAX, &text, &flags);
	if (!*len || text[0] != '/' || (flags & (FSN_FD_ANON | FSN_FD_DELETED | FSN_FD_OUTSIDE)))
		return NULL;
	return text;
}

/* Where a relative path of this call starts, or NULL. */
static const char *base_text(const struct fsn_facts *f, const struct fsn_program *p, u32 *len)
{
	struct path pwd, root;
	const char *text;
	struct file *file;
	bool borrowed;
	int fd = p->dirfd == FSN_REG_NONE ? AT_FDCWD : (int)f->args[p->dirfd];

	if (fd == AT_FDCWD) {
		if (!current->fs)
			return NULL;
		fsn_fs_paths(current->fs, &pwd, &root);
		return directory_text(f, &pwd, len);
	}
	file = fsn_file_get(fd, &borrowed);
	if (!file)
		return NULL;
	text = directory_text(f, &file->f_path, len);
	fsn_file_put(file, borrowed);
	return text;
}

/* The raw path is @len bytes, and tidy. */
static noinline void path_is_relative(struct fsn_facts *f, const struct fsn_program *p, u32 len)
{
	char *given = f->ring->facts + GIVEN_AT;
	u32 base_len;
	const char *base = base_text(f, p, &base_len);

	if (!base || base_len + 1 + len > GIVEN_MAX)
		return;
	if (base_len == 1)
		base_len = 0;	/* the root */
	memcpy(given, base, base_len);
	given[base_len] = '/';
	memcpy(given + base_len + 1, f->ring->facts + RAW_AT, len);
	known(&f->given, given, base_len + 1 + len, true);
}

/* What @len bytes of the path that the program gave are. */
static __always_inline void path_is_raw(struct fsn_facts *f, const struct fsn_program *p, u32 len, u64 dotted)
{
	const char *raw = f->ring->facts + RAW_AT;

	f->read = raw;
	f->read_at = f->args[p->path];
	f->read_len = len;
	if (!len || !tidy(raw, len, dotted))
		return;
	known(&f->raw, raw, len, dotted);
	if (raw[0] == '/')
		known(&f->given, raw, len, dotted);
	else
		path_is_relative(f, p, len);
}

static noinline void path_slowly(struct fsn_facts *f, const struct fsn_program *p)
{
	const void __user *from = (const void __user *)f->args[p->path];
	u16 flags = 0;
	u32 len = fsn_user_text_slowly(f->ring->facts + RAW_AT, from, GIVEN_MAX, &flags);

	if (!flags)
		path_is_raw(f, p, len, ~0ULL);
}

void fsn_facts_path(struct fsn_facts *f, const struct fsn_program *p)
{
	u64 dotted;
	long len;

	f->raw.state = FSN_FACT_UNKNOWN;
	f->given.state = FSN_FACT_UNKNOWN;
	if (p->path == FSN_REG_NONE || !f->args[p->path])
		return;
	len = fsn_user_text_by_words(f->ring->facts + RAW_AT, (const void __user *)f->args[p->path], GIVEN_MAX, &dotted);
	if (likely(len >= 0))
		path_is_raw(f, p, len, dotted);
	else
		path_slowly(f, p);
}

static noinline void opened_slowly(struct fsn_facts *f, struct file *file, bool borrowed)
{
	const char *text = "";
	u32 len, flags = 0;

	if (S_ISSOCK(file_inode(file)->i_mode))
		return;
	len = fsn_path_text(f->ring, &file->f_path, f->ring->facts + OPENED_AT, FSN_PATH_MAX, &text, &flags);
	if (!len || text[0] != '/' || (flags & (FSN_FD_ANON | FSN_FD_DELETED)))
		return;
	known(&f->opened, text, len, true);
	if (borrowed) {
		f->file = file;
		f->file_flags = flags;
	}
}

/* The descriptor that the conditions are about, or -1. */
static int descriptor(const struct fsn_facts *f, const struct fsn_program *p)
{
	if (p->fd == FSN_REG_NONE)
		return -1;
	return p->fd == FSN_REG_RESULT ? (int)f->ret : (int)f->args[p->fd];
}

void fsn_facts_opened(struct fsn_facts *f, const struct fsn_program *p)
{
	int fd = descriptor(f, p);
	struct file *file;
	bool borrowed;

	if (fd < 0) {
		f->opened.state = p->fd == FSN_REG_NONE ? FSN_FACT_UNKNOWN : FSN_FACT_ABSENT;
		return;
	}
	f->opened.state = FSN_FACT_UNKNOWN;
	file = fsn_file_get(fd, &borrowed);
	if (!file)
		return;		/* closed by another thread */
	/* most files are opened as they are called */
	f->directory = f->given.state == FSN_FACT_KNOWN ?
		       fsn_path_is(f->ring, &file->f_path, f->given.text, f->given.len, 0) : 0;
	if (likely(f->directory)) {
		f->dentry = file->f_path.dentry;
		f->opened = f->given;
		if (borrowed) {
			f->file = file;
			f->file_flags = 0;
		}
	} else {
		opened_slowly(f, file, borrowed);
	}
	fsn_file_put(file, borrowed);
}

static u32 kind_of(struct file *file)
{
	struct socket *sock;
	struct sock *sk;

	if (!S_ISSOCK(file_inode(file)->i_mode))
		return FSN_KIND_FILE;
	sock = fsn_sock_from_file(file);
	sk = sock ? READ_ONCE(sock->sk) : NULL;
	if (!sk)
		return 0;
	switch (sk->sk_family) {
	case AF_INET:
		return FSN_KIND_INET;
	case AF_INET6:
		return FSN_KIND_INET6;
	case AF_UNIX:
		return FSN_KIND_UNIX;
	case AF_NETLINK:
		return FSN_KIND_NETLINK;
	default:
		return FSN_KIND_OTHER;
	}
}

void fsn_facts_kind(struct fsn_facts *f, const struct fsn_program *p)
{
	struct file *file;
	bool borrowed;

	f->kind_state = FSN_FACT_UNKNOWN;
	file = fsn_file_get(descriptor(f, p), &borrowed);
	if (!file)
		return;
	f->kind = kind_of(file);
	if (f->kind)
		f->kind_state = FSN_FACT_KNOWN;
	fsn_file_put(file, borrowed);
}

void fsn_facts_ports(struct fsn_facts *f, const struct fsn_program *p)
{
	struct socket *sock;
	struct file *file;
	bool borrowed;

	f->ports_state = FSN_FACT_UNKNOWN;
	file = fsn_file_get(descriptor(f, p), &borrowed);
	if (!file)
		return;
	sock = S_ISSOCK(file_inode(file)->i_mode) ? fsn_sock_from_file(file) : NULL;
	if (sock && fsn_sock_ports(sock, &f->local_port, &f->remote_port))
		f->ports_state = FSN_FACT_KNOWN;
	fsn_file_put(file, borrowed);
}

/* ---- opens that were stopped a moment ago ------------------------------------------------------------------------ */

/*
 * An open of a file by its own absolute path, whose conditions asked for nothing but its texts and were not met: they are not met by
 * the next one either, as long as the file can be told to have that path still (fsn_path_is()). Two in a row of a file are
 * enough to be kept, so that what is opened once costs next to nothing more.
 */
struct fsn_stopped {
	const struct dentry *dentry;	/* compared, never followed */
	u64 table;
	u64 directory;		/* what fsn_path_is() said */
	u16 at;			/* the step from which the conditions were asked */
	u16 len;		/* of @text; 0: the file was stopped once */
	char text[120 + sizeof(u64)];	/* a word more than is used */
};

#define STOPPED		128

int fsn_stopped_init(struct fsn_ring *ring)
{
	ring->stopped = kzalloc_node(STOPPED * sizeof(struct fsn_stopped), GFP_KERNEL, cpu_to_node(ring->cpu));
	return ring->stopped ? 0 : -ENOMEM;
}

static __always_inline struct fsn_stopped *stopped_of(struct fsn_ring *ring, const struct dentry *dentry)
{
	return &ring->stopped[hash_ptr(dentry, ilog2(STOPPED))];
}

static __always_inline u64 serial_of(const struct fsn_table *table)
{
	return container_of(table, struct fsn_live_table, table)->serial;
}

bool fsn_facts_stopped_before(const struct fsn_facts *f, const struct fsn_table *table, const struct fsn_program *p, u32 at)
{
	struct fsn_stopped *s;
	const struct dentry *d;
	struct file *file;
	bool borrowed, same = false;

	if (p->fd != FSN_REG_RESULT || p->path == FSN_REG_NONE || f->ret < 0)
		return false;
	file = fsn_file_get(f->ret, &borrowed);
	if (!file)
		return false;
	d = file->f_path.dentry;
	s = stopped_of(f->ring, d);
	if (s->dentry == d && s->len && s->at == at && s->table == serial_of(table) &&
	    fsn_user_text_is(s->text, s->len, (const char __user *)f->args[p->path])) {
		u64 directory = fsn_path_is(f->ring, &file->f_path, s->text, s->len, s->directory);

		if (likely(directory)) {
			s->directory = directory;
			same = true;
		}
	}
	fsn_file_put(file, borrowed);
	return same;
}

void fsn_facts_stopped(const struct fsn_facts *f, const struct fsn_table *table, u32 at)
{
	struct fsn_stopped *s;

	if (f->opened.state != FSN_FACT_KNOWN || f->raw.state != FSN_FACT_KNOWN || f->opened.text != f->raw.text ||
	    f->registers || f->kind_state != FSN_FACT_UNASKED || f->ports_state != FSN_FACT_UNASKED || f->raw.len > sizeof(s->text) - sizeof(u64))
		return;
	s = stopped_of(f->ring, f->dentry);
	if (s->dentry != f->dentry) {
		s->dentry = f->dentry;
		s->len = 0;
		return;
	}
	s->table = serial_of(table);
	s->directory = f->directory;
	s->at = at;
	s->len = f->raw.len;
	fsn_copy_words(s->text, f->raw.text, s->len);
	s->text[s->len] = 0;
}

/* ---- the table in use ---------------------------------------------------------------------------------------- */

/* process, device lock; read by probes under RCU. */
struct fsn_live_table __rcu *fsn_live_table;
static u64 tables;	/* that there have been; device lock */

static void replace(struct fsn_live_table *new, bool locked)
{
	struct fsn_live_table *old = rcu_dereference_protected(fsn_live_table, locked);

	rcu_assign_pointer(fsn_live_table, new);
	if (!old)
		return;
	synchronize_rcu();	/* a probe is one reader from fsn_enter to fsn_leave */
	vfree(old);
}

void fsn_table_drop(void)
{
	replace(NULL, true);
}

long fsn_table_set(const struct fsn_filter_at __user *from)
{
	struct fsn_live_table *new;
	struct fsn_filter_at at;

	if (copy_from_user(&at, from, sizeof(at)))
		return -EFAULT;
	if (!at.size) {
		fsn_table_drop();
		return 0;
	}
	if (at.size < sizeof(struct fsn_filter) || at.size > FSN_FILTER_MAX)
		return -EINVAL;
	new = vzalloc(sizeof(*new) + at.size);
	if (!new)
		return -ENOMEM;
	if (copy_from_user(new->blob, (const void __user *)(unsigned long)at.address, at.size)) {
		vfree(new);
		return -EFAULT;
	}
	if (!fsn_filter_check(new->blob, at.size, &new->table)) {
		vfree(new);
		return -EINVAL;
	}
	new->serial = ++tables;
	replace(new, true);
	return 0;
}
