// SPDX-License-Identifier: GPL-2.0
/*
 * Descriptors and paths as the kernel knows them: what a number in current's table stands for, under which
 * name current sees it, and in which layer of an overlay it lies.
 *
 * Context: probe; fsn_path_text() and fsn_overlay_layer() also process. Nothing here sleeps: paths are
 * never put, and the last reference of a file that fput() may drop is left to task work by the kernel.
 * d_path() takes the mount and rename sequence locks itself. Nothing is allocated.
 */
#include "compat.h"
#include <linux/dcache.h>
#include <linux/mount.h>
#include <linux/net.h>

#include "filter.h"
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

u32 fsn_path_text(const struct path *path, char *buf, u32 size, const char **text, u32 *flags)
{
	bool made_up = name_is_made_up(path);
	char *start = d_path(path, buf, size);
	u32 len;

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
		*flags |= FSN_FD_DELETED;
	if (path_is_outside(path))
		*flags |= FSN_FD_OUTSIDE;
	return len;
}

bool fsn_path_is(const struct path *path, const char *text, u32 len)
{
	u32 seq = fsn_seqlock_sequence(&rename_lock);
	struct fs_struct *fs = current->fs;
	const struct dentry *d = path->dentry;
	const char *at = text + len;
	struct path pwd, root;

	if (!fs || (seq & 1) || d_unlinked((struct dentry *)d))
		return false;
	fsn_fs_paths(fs, &pwd, &root);
	if (root.mnt != path->mnt)
		return false;
	smp_rmb();	/* names and parents are read after the sequence, and before it is read again */
	while (d != root.dentry) {
		const char *name = (const char *)READ_ONCE(d->d_name.name);
		u32 i, n = READ_ONCE(d->d_name.len);

		if (d == path->mnt->mnt_root || IS_ROOT(d) || n >= at - text)
			return false;
		at -= n;
		/* a name always ends with a NUL, which is in no text: never further than that, whatever n was */
		for (i = 0; i < n; i++)
			if (at[i] != name[i])
				return false;
		if (*--at != '/')
			return false;
		d = READ_ONCE(d->d_parent);
	}
	smp_rmb();
	return at == text && fsn_seqlock_sequence(&rename_lock) == seq;
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

static void describe(struct fsn_fd *fd, int nr, struct file *file)
{
	const struct inode *inode = file_inode(file);
	const struct dentry *dentry = file->f_path.dentry;

	memset(fd, 0, sizeof(*fd));
	fd->fd = nr;
	fd->f_flags = READ_ONCE(file->f_flags);
	fd->mode = inode->i_mode;
	fd->dev = new_encode_dev(inode->i_sb->s_dev);
	fd->magic = inode->i_sb->s_magic;
	fd->ino = inode->i_ino;
	fd->uid = fsn_uid(inode->i_uid);
	fd->gid = fsn_gid(inode->i_gid);
	fd->nlink = inode->i_nlink;
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

static bool put_path(struct fsn_fd *fd, struct file *file, char *scratch, u32 room, const struct fsn_facts *facts)
{
	const char *text;
	u32 len;

	if (facts && facts->file == file) {
		text = facts->opened.text;
		len = facts->opened.len;
		fd->flags |= facts->file_flags;
	} else {
		len = fsn_path_text(&file->f_path, scratch, FSN_PATH_MAX, &text, &fd->flags);
	}
	if (len > room)
		return false;
	memcpy(fd + 1, text, len);
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
		ok = put_path(fd, file, fsn_scratch(o->ring), room, borrowed ? facts : NULL);
	fsn_file_put(file, borrowed);
	if (ok)
		fsn_att_end(o, att, sizeof(*fd) + fd->name_len, 0);
	return ok;
}
