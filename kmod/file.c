// SPDX-License-Identifier: GPL-2.0
/*
 * Descriptors and paths as the kernel knows them: what a number in current's table stands for, under which
 * name current sees it, and in which layer of an overlay it lies.
 *
 * Context: probe; fsn_overlay_layer() also process. Nothing here sleeps: paths are never put, and the last
 * reference of a file that fput() may drop is left to task work by the kernel. d_path() takes the mount and
 * rename sequence locks itself. Nothing is allocated.
 */
#include "compat.h"
#include <linux/dcache.h>
#include <linux/hash.h>
#include <linux/jiffies.h>
#include <linux/mount.h>
#include <linux/net.h>

#include "filter.h"
#include "ring.h"
#include "sensor.h"

#define DELETED		" (deleted)"

/* Whether the file system makes the name up (pipes, sockets, anonymous inodes, memfd): as d_path() decides. */
static bool name_is_made_up(const struct path *path)
{
	const struct dentry *dentry = path->dentry;

	return dentry->d_op && dentry->d_op->d_dname &&
	       (!IS_ROOT(dentry) || dentry != path->mnt->mnt_root);
}

/*
 * Whether current has a root of its own inside a mount (chroot) and @path is not below it. d_path() names such
 * a path from the root of its mount tree without saying so. A root that is its mount's own (pivot_root) is not
 * looked at: that would cost the mount lock for every path of every container.
 */
static bool path_is_outside(const struct path *path)
{
	struct fs_struct *fs = current->fs;
	struct path pwd, root;

	if (!fs)
		return false;
	fsn_fs_paths(fs, &pwd, &root);
	if (!root.mnt || root.dentry == root.mnt->mnt_root)
		return false;
	/* not const until 4.10 */
	return !path_is_under((struct path *)path, &root);
}

/* ---- directories as d_path() has named them ------------------------------------------------------------- */

/*
 * A directory as tasks of one root see it: what d_path() said of a file in it a moment ago. Nothing is held: the directory is told
 * from others as a current directory is (struct fsn_key), and not believed any longer once anything was renamed or a system
 * call may have moved a mount, nor for more than 10 ms: what the kernel does with mounts of its own accord (automounts,
 * namespaces that end) tells nobody.
 */
struct fsn_directory_id {
	const struct dentry *dentry;
	const struct vfsmount *mnt;
	const struct inode *inode;
	u64 name;		/* hash and length */
	const struct vfsmount *root_mnt;
	const struct dentry *root_dentry;
	u64 seqs;
};

struct fsn_directory {
	struct fsn_directory_id id;
	u64 number;		/* of this text; another one gets another */
	unsigned long until;	/* jiffies */
	u32 len;		/* of @text; 0: the root */
	char text[120 + sizeof(u64)];	/* a word more than is used */
};

#define DIRECTORIES	32

static atomic_t mounts_seq = ATOMIC_INIT(0);

void fsn_mounts_changed(void)
{
	atomic_inc(&mounts_seq);
}

int fsn_directories_init(struct fsn_ring *ring)
{
	ring->directories = kzalloc_node(DIRECTORIES * sizeof(struct fsn_directory), GFP_KERNEL,
					 cpu_to_node(ring->cpu));
	return ring->directories ? 0 : -ENOMEM;
}

/* Sequences that a name depends on; renames in the lower half, odd while one goes on. */
static __always_inline u64 seqs_now(void)
{
	return (u64)atomic_read(&mounts_seq) << 32 | fsn_seqlock_sequence(&rename_lock);
}

static __always_inline struct fsn_directory *entry_of(struct fsn_ring *ring, const struct dentry *directory)
{
	return &ring->directories[hash_ptr(directory, ilog2(DIRECTORIES))];
}

/* What tells the directory of a path; false where the path is not its directory and its name. */
static __always_inline bool directory_of(const struct path *path, struct fsn_directory_id *is)
{
	const struct dentry *d = path->dentry, *parent = READ_ONCE(d->d_parent);
	struct fs_struct *fs = current->fs;
	struct path fsn_uninit pwd;
	struct path fsn_uninit root;

	is->seqs = seqs_now();
	if (!fs || (is->seqs & 1) || parent == d || d == path->mnt->mnt_root || d_unlinked(path->dentry) ||
	    name_is_made_up(path))
		return false;
	fsn_fs_paths(fs, &pwd, &root);
	if (d == root.dentry && path->mnt == root.mnt)
		return false;
	is->dentry = parent;
	is->mnt = path->mnt;
	is->inode = READ_ONCE(parent->d_inode);
	is->name = parent->d_name.hash_len;
	is->root_mnt = root.mnt;
	is->root_dentry = root.dentry;
	smp_rmb();	/* names are read after the sequences, and before they are read again */
	return true;
}

static __always_inline bool is_known(const struct fsn_directory_id *is, const struct fsn_directory *entry)
{
	const struct fsn_directory_id *id = &entry->id;

	return id->dentry == is->dentry && id->mnt == is->mnt && id->inode == is->inode && id->name == is->name &&
	       id->root_mnt == is->root_mnt && id->root_dentry == is->root_dentry && id->seqs == is->seqs &&
	       !time_after(jiffies, entry->until);
}

/* Whether nothing has been renamed or moved since directory_of(). */
static __always_inline bool still_is(const struct fsn_directory_id *is)
{
	smp_rmb();
	return seqs_now() == is->seqs;
}

/* What d_path() has said of a path in @is. */
static void remember(struct fsn_ring *ring, const struct fsn_directory_id *is, const char *text, u32 len)
{
	struct fsn_directory *entry = entry_of(ring, is->dentry);

	while (len && text[--len] != '/')
		;
	if (len > sizeof(entry->text) - sizeof(u64) || !still_is(is))
		return;
	entry->id = *is;
	entry->number = ++ring->directory_number;
	entry->until = jiffies + max(HZ / 100, 1);
	entry->len = len;
	memcpy(entry->text, text, len);
}

/*
 * Whether a name of @n bytes lies in the dentry itself: then a word may be read wherever it begins. Others are read up to their
 * NUL only, whatever their length was said to be.
 */
static __always_inline bool is_inside(const struct dentry *d, const char *name, u32 n)
{
	return likely(name - (const char *)d + n <= sizeof(*d));
}

/* Its length, or 0: it is not known, or @size bytes were not a word more than it takes. */
static __always_inline u32 known_path(struct fsn_ring *ring, const struct path *path, const struct fsn_directory_id *is,
				      char *to, u32 size)
{
	const struct fsn_directory *entry = entry_of(ring, is->dentry);
	const struct dentry *d = path->dentry;
	const char *name = (const char *)READ_ONCE(d->d_name.name);
	u32 i, n = READ_ONCE(d->d_name.len);
	char *at;

	if (!is_known(is, entry) || entry->len + 1 + n + sizeof(u64) > size)
		return 0;
	at = to + entry->len + 1;
	fsn_copy_words(to, entry->text, entry->len);
	at[-1] = '/';
	if (is_inside(d, name, n)) {
		fsn_copy_words(at, name, n);
	} else {
		for (i = 0; i < n; i++) {
			at[i] = READ_ONCE(name[i]);
			if (unlikely(!at[i]))
				return 0;
		}
	}
	return still_is(is) ? entry->len + 1 + n : 0;
}

/* As the kernel says it; @is: its directory, or NULL. */
static noinline u32 path_asked(struct fsn_ring *ring, const struct path *path, const struct fsn_directory_id *is, char *buf,
			       u32 size, const char **text, u32 *flags)
{
	bool made_up = name_is_made_up(path);
	u32 len, told = 0;
	char *start;

	start = d_path(path, buf, size);
	if (IS_ERR(start))
		return 0;
	*text = start;
	if (made_up) {
		/* d_dname() may build a name anywhere in @buf */
		len = strnlen(start, buf + size - start);
		*flags |= FSN_FD_ANON;
		if (len > sizeof(DELETED) - 1 &&
		    !memcmp(start + len - (sizeof(DELETED) - 1), DELETED, sizeof(DELETED) - 1))
			*flags |= FSN_FD_DELETED;
		return len;
	}
	len = buf + size - 1 - start;
	if (d_unlinked((struct dentry *)path->dentry))
		told |= FSN_FD_DELETED;
	if (path_is_outside(path))
		told |= FSN_FD_OUTSIDE;
	if (is && !told && *start == '/')
		remember(ring, is, start, len);
	*flags |= told;
	return len;
}

u32 fsn_path_text(struct fsn_ring *ring, const struct path *path, char *buf, u32 size, const char **text, u32 *flags)
{
	struct fsn_directory_id fsn_uninit is;
	bool in_directory = directory_of(path, &is);
	u32 len = in_directory ? known_path(ring, path, &is, buf, size) : 0;

	if (likely(len)) {
		*text = buf;
		return len;
	}
	return path_asked(ring, path, in_directory ? &is : NULL, buf, size, text, flags);
}

/*
 * fsn_path_text(), copied to @to, of @room bytes, a multiple of 8. Longer: they were not enough, and nothing of it was
 * copied.
 */
static u32 path_copied(struct fsn_ring *ring, const struct path *path, char *to, u32 room, u32 *flags)
{
	struct fsn_directory_id fsn_uninit is;
	bool in_directory = directory_of(path, &is);
	u32 len = in_directory ? known_path(ring, path, &is, to, room) : 0;
	const char *text;

	if (likely(len))
		return len;
	len = path_asked(ring, path, in_directory ? &is : NULL, fsn_scratch(ring), FSN_PATH_MAX, &text, flags);
	if (len <= room)
		fsn_copy_words(to, text, len);
	return len;
}

/* Whether the first @n bytes are the same. Both may be read for a word at least. */
static __always_inline bool same_bytes(const char *a, const char *b, u32 n)
{
	u32 i;

#ifdef __LITTLE_ENDIAN
	if (n < sizeof(u64))
		return !((fsn_word_at(a) ^ fsn_word_at(b)) & ((1ULL << 8 * n) - 1));
	for (i = 0; i + sizeof(u64) < n; i += sizeof(u64))
		if (fsn_word_at(a + i) != fsn_word_at(b + i))
			return false;
	return fsn_word_at(a + n - sizeof(u64)) == fsn_word_at(b + n - sizeof(u64));
#else
	for (i = 0; i < n; i++)
		if (a[i] != b[i])
			return false;
	return true;
#endif
}

u64 fsn_path_is(struct fsn_ring *ring, const struct path *path, const char *text, u32 len, u64 before)
{
	const struct dentry *d = path->dentry;
	const struct fsn_directory *entry;
	struct fsn_directory_id fsn_uninit is;
	const char *name;
	u32 n, i;

	if (!directory_of(path, &is))
		return 0;
	entry = entry_of(ring, is.dentry);
	n = READ_ONCE(d->d_name.len);
	name = (const char *)READ_ONCE(d->d_name.name);
	if (!is_known(&is, entry) || len != entry->len + 1 + n ||
	    (entry->number != before && (text[entry->len] != '/' || !same_bytes(text, entry->text, entry->len))))
		return 0;
	text += entry->len + 1;
	if (is_inside(d, name, n)) {
		if (!same_bytes(text, name, n))
			return 0;
	} else {
		for (i = 0; i < n; i++)
			if (text[i] != READ_ONCE(name[i]))
				return 0;
	}
	return still_is(&is) ? entry->number : 0;
}

u32 fsn_overlay_layer(const struct dentry *dentry)
{
	if (likely(dentry->d_sb->s_magic != FSN_OVERLAYFS_MAGIC))
		return 0;
	switch (fsn_overlay_has_upper(dentry)) {
	case 1:
		return FSN_FD_UPPER;
	case 0:
		return FSN_FD_LOWER;
	default:
		return 0;
	}
}

/* Every field of it. */
static void describe(struct fsn_fd *fd, int nr, struct file *file)
{
	const struct inode *inode = file_inode(file);
	const struct dentry *dentry = file->f_path.dentry;

	fd->fd = nr;
	fd->f_flags = READ_ONCE(file->f_flags);
	fd->mode = inode->i_mode;
	fd->dev = new_encode_dev(inode->i_sb->s_dev);
	fd->magic = inode->i_sb->s_magic;
	fd->ino = inode->i_ino;
	fd->uid = fsn_uid(inode->i_uid);
	fd->gid = fsn_gid(inode->i_gid);
	fd->nlink = inode->i_nlink;
	fd->name_len = 0;
	fd->flags = fsn_overlay_layer(dentry);
	if (fsn_file_created(file))
		fd->flags |= FSN_FD_CREATED;
}

/* @room: bytes behind @fd. False: they were not enough. */
static bool put_socket(struct fsn_fd *fd, struct file *file, u8 role, u32 room)
{
	struct socket *sock = fsn_sock_from_file(file);
	u32 len;

	if (!sock)
		return true;
	len = fsn_sock_text(sock, role, (char *)(fd + 1), room);
	if (!len)
		return false;
	fd->flags |= FSN_FD_SOCKET;
	fd->name_len = len;
	return true;
}

static bool put_path(struct fsn_ring *ring, struct fsn_fd *fd, struct file *file, u32 room,
		     const struct fsn_facts *facts)
{
	char *to = (char *)(fd + 1);
	u32 len;

	if (facts && facts->file == file) {
		len = facts->opened.len;
		fd->flags |= facts->file_flags;
		if (len <= room)
			fsn_copy_words(to, facts->opened.text, len);
	} else {
		len = path_copied(ring, &file->f_path, to, room, &fd->flags);
	}
	if (len > room)
		return false;
	fd->name_len = len;
	return true;
}

bool fsn_put_fd(struct fsn_out *o, u8 param, int nr, u8 role, const struct fsn_facts *facts)
{
	struct fsn_att *att;
	struct fsn_fd *fd;
	struct file *file;
	bool borrowed, ok;
	u32 room;

	file = fsn_file_get(nr, &borrowed);
	if (!file)
		return true;
	att = fsn_att_begin(o, FSN_ATT_FD, param, sizeof(*fd), &room);
	if (!att) {
		fsn_file_put(file, borrowed);
		return false;
	}
	fd = (struct fsn_fd *)(att + 1);
	room -= sizeof(*fd);
	describe(fd, nr, file);
	if (S_ISSOCK(fd->mode))
		ok = put_socket(fd, file, role, room);
	else
		ok = put_path(o->ring, fd, file, room, borrowed ? facts : NULL);
	fsn_file_put(file, borrowed);
	if (ok)
		fsn_att_end(o, att, sizeof(*fd) + fd->name_len, 0);
	return ok;
}
