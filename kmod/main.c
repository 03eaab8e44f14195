// SPDX-License-Identifier: GPL-2.0
/*
 * Life cycle and device: /dev/falco-sensor, its ioctls, who may consume.
 *
 * One process consumes at a time; each of its open files may be bound to the ring of one CPU. When the last
 * file closes - also because the process was killed - the probes are detached and the rings freed.
 *
 * Context: process. Everything here happens under fsn_dev_lock; the probes read what it guards with READ_ONCE,
 * and memory goes only after they have been detached or drained.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt
#include "compat.h"
#include <linux/cpu.h>
#include <linux/miscdevice.h>
#include <linux/vmalloc.h>

#include "facts.h"
#include "ring.h"
#include "task.h"

#ifndef FSN_VERSION
#define FSN_VERSION "0.1.0"
#endif

#define RING_BYTES_MIN		(64u << 10)
#define RING_BYTES_MAX		(512u << 20)
#define RING_BYTES_DEFAULT	(8u << 20)

struct fsn_capture_config fsn_capture_config = { .snaplen = 80 };

static DEFINE_MUTEX(fsn_dev_lock);
static unsigned int open_files;
static int consumer;			/* tgid, while open_files > 0 */
module_param(consumer, int, 0444);
MODULE_PARM_DESC(consumer, "process that has the device open, 0: none (read-only)");
static bool started;
static u32 ring_bytes = RING_BYTES_DEFAULT;

/* ---- ioctls ---------------------------------------------------------------------------------------------- */

static long fsn_dev_info(struct fsn_info __user *to)
{
	struct fsn_info info = {
		.size = sizeof(info),
		.abi_major = FSN_ABI_MAJOR,
		.abi_minor = FSN_ABI_MINOR,
		.table_hash = fsn_table_hash_compute(),
		.nr_cpus = nr_cpu_ids,
		.consumer = consumer,
		.attached = fsn_probes_attached(),
		.clock = fsn_clock(),
		.execs_live = fsn_images_live(),
		.threads_live = fsn_idents_live(),
		.no_ring = atomic64_read(&fsn_no_ring),
		.no_memory = atomic64_read(&fsn_no_memory),
		.version = FSN_VERSION,
	};

	return copy_to_user(to, &info, sizeof(info)) ? -EFAULT : 0;
}

static bool ring_bytes_ok(u32 bytes)
{
	return bytes >= RING_BYTES_MIN && bytes <= RING_BYTES_MAX && !(bytes & (bytes - 1));
}

static long fsn_dev_config(const struct fsn_config __user *from)
{
	struct fsn_config *c;
	unsigned int sc;
	long err = -EINVAL;

	c = kmalloc(sizeof(*c), GFP_KERNEL);
	if (!c)
		return -ENOMEM;
	if (copy_from_user(c, from, sizeof(*c))) {
		err = -EFAULT;
		goto out;
	}
	if (c->size != sizeof(*c) || !ring_bytes_ok(c->ring_bytes) || c->snaplen > 4096 ||
	    c->latency_us < 100 || c->latency_us > 10 * 1000 * 1000 || !c->watermark)
		goto out;
	if (!started && !fsn_rings_fit(c->ring_bytes)) {
		err = -ENOMEM;	/* now, and not after most of them have been filled */
		goto out;
	}
	ring_bytes = c->ring_bytes;
	WRITE_ONCE(fsn_ring_config.watermark, min(c->watermark, c->ring_bytes / 2));
	WRITE_ONCE(fsn_ring_config.latency_us, c->latency_us);
	WRITE_ONCE(fsn_capture_config.features, c->features);
	WRITE_ONCE(fsn_capture_config.snaplen, c->snaplen);
	/*
	 * A mask of the consumer's means the classes it was made for. The consumer takes all masks back before it changes the
	 * classes: probes that have looked at one are waited for here, and below those that have looked at an old class, before
	 * the first new mask can stand there.
	 */
	if (started)
		synchronize_rcu();
	for (sc = 0; sc < FSN_SYSCALLS; sc++) {
		WRITE_ONCE(fsn_probe_config.wanted[sc], c->wanted[sc / 64] >> (sc % 64) & 1);
		WRITE_ONCE(fsn_probe_config.class[sc], c->class[sc]);
	}
	fsn_probes_heed();
	WRITE_ONCE(fsn_probe_config.tracepoints, c->tracepoints);
	if (started)
		synchronize_rcu();
	err = started ? fsn_probes_start(c->tracepoints) : 0;
out:
	kfree(c);
	return err;
}

static long fsn_dev_attach(struct file *file, unsigned long cpu)
{
	struct fsn_ring *ring = cpu < nr_cpu_ids ? fsn_ring_of(cpu) : NULL;
	long err;

	if (!ring || file->private_data)
		return -EINVAL;
	if (ring->owner)
		return -EBUSY;
	err = fsn_ring_attach(ring, ring_bytes);
	if (err)
		return err;
	ring->owner = file;
	WRITE_ONCE(file->private_data, ring);
	return 0;
}

static long fsn_dev_start(void)
{
	long err;

	WRITE_ONCE(fsn_probe_config.consumer, consumer);
	err = fsn_probes_start(fsn_probe_config.tracepoints);
	started = !err;
	return err;
}

static void fsn_dev_stop(void)
{
	if (started)
		fsn_probes_stop();
	started = false;
}

static long fsn_dev_seed(const struct fsn_seed __user *from)
{
	struct fsn_seed seed;
	char *texts, *args, *env, *exe;
	long err = -EFAULT;

	if (!started)
		return -EINVAL;
	if (copy_from_user(&seed, from, sizeof(seed)))
		return -EFAULT;
	if (seed.args_len > FSN_ARGS_MAX || seed.env_len > FSN_ARGS_MAX || seed.exe_len > FSN_PATH_MAX)
		return -EINVAL;
	texts = kmalloc(seed.args_len + seed.env_len + seed.exe_len + 1, GFP_KERNEL);
	if (!texts)
		return -ENOMEM;
	args = texts;
	env = args + seed.args_len;
	exe = env + seed.env_len;
	if (!copy_from_user(args, (void __user *)(unsigned long)seed.args, seed.args_len) &&
	    !copy_from_user(env, (void __user *)(unsigned long)seed.env, seed.env_len) &&
	    !copy_from_user(exe, (void __user *)(unsigned long)seed.exe, seed.exe_len))
		err = fsn_ident_seed(&seed, args, env, exe);
	kfree(texts);
	return err;
}

static long fsn_dev_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	void __user *p = (void __user *)arg;
	long err;

	mutex_lock(&fsn_dev_lock);
	switch (cmd) {
	case FSN_IOC_INFO:
		err = fsn_dev_info(p);
		break;
	case FSN_IOC_CONFIG:
		err = fsn_dev_config(p);
		break;
	case FSN_IOC_ATTACH:
		err = fsn_dev_attach(file, arg);
		break;
	case FSN_IOC_START:
		err = fsn_dev_start();
		break;
	case FSN_IOC_STOP:
		fsn_dev_stop();
		err = 0;
		break;
	case FSN_IOC_SEED:
		err = fsn_dev_seed(p);
		break;
	case FSN_IOC_FILTER:
		err = fsn_table_set(p);
		break;
	default:
		err = -ENOTTY;
	}
	mutex_unlock(&fsn_dev_lock);
	return err;
}

/* ---- files ------------------------------------------------------------------------------------------------ */

static int fsn_dev_open(struct inode *inode, struct file *file)
{
	int err = 0;

	file->private_data = NULL;
	mutex_lock(&fsn_dev_lock);
	if (open_files && consumer != current->tgid) {
		err = -EBUSY;
	} else {
		if (!open_files)
			atomic64_set(&fsn_no_ring, 0);	/* the last consumer's losses */
		consumer = current->tgid;
		open_files++;
	}
	mutex_unlock(&fsn_dev_lock);
	return err;
}

static int fsn_dev_release(struct inode *inode, struct file *file)
{
	struct fsn_ring *ring = file->private_data;

	mutex_lock(&fsn_dev_lock);
	if (open_files == 1) {
		fsn_dev_stop();
		fsn_table_drop();
	}
	if (ring) {
		fsn_ring_detach(ring);
		ring->owner = NULL;
	}
	if (!--open_files) {
		consumer = 0;
		WRITE_ONCE(fsn_probe_config.consumer, 0);
		ring_bytes = RING_BYTES_DEFAULT;
	}
	mutex_unlock(&fsn_dev_lock);
	return 0;
}

static int fsn_dev_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct fsn_ring *ring = file->private_data;
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	bool producer;

	/* the binding of a file never changes once made: no lock, which mmap could not take in this order */
	if (!ring)
		return -EINVAL;
	producer = offset == FSN_MMAP_PRODUCER(ring->cpu);
	if (!producer && offset != FSN_MMAP_CONSUMER(ring->cpu))
		return -EINVAL;
	return fsn_ring_mmap(ring, vma, producer);
}

static __poll_t fsn_dev_poll(struct file *file, poll_table *wait)
{
	struct fsn_ring *ring = file->private_data;

	if (!ring)
		return EPOLLERR;
	poll_wait(file, &ring->wait, wait);
	/* pairs with the barrier in fsn_ring_wake: the producer sees us waiting or we see its head */
	smp_mb();
	return fsn_ring_readable(ring) ? EPOLLIN | EPOLLRDNORM : 0;
}

static const struct file_operations fsn_dev_fops = {
	.owner = THIS_MODULE,
	.open = fsn_dev_open,
	.release = fsn_dev_release,
	.unlocked_ioctl = fsn_dev_ioctl,
#ifdef CONFIG_COMPAT
	.compat_ioctl = fsn_dev_ioctl,
#endif
	.mmap = fsn_dev_mmap,
	.poll = fsn_dev_poll,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = FSN_DEVICE_NAME,
	.fops = &fsn_dev_fops,
	.mode = 0600,
};

/* ---- life cycle --------------------------------------------------------------------------------------------- */

static int __init fsn_init(void)
{
	int err;

	if (FSN_PREEMPT_RT) {
		pr_err("PREEMPT_RT kernels are not supported: spinlocks sleep there and probes must not\n");
		return -EOPNOTSUPP;
	}
	fsn_lookup_init();
	fsn_capture_init();
	fsn_exec_init();
	err = fsn_probes_init();
	if (err)
		return err;
	err = fsn_rings_init();
	if (err)
		return err;
	err = misc_register(&device);
	if (err)
		goto fail_device;
	return 0;

fail_device:
	fsn_rings_exit();
	return err;
}

/* No file is open: the module's use count saw to that, and the last release detached every probe. */
static void __exit fsn_exit(void)
{
	misc_deregister(&device);
	fsn_rings_exit();
}

module_init(fsn_init);
module_exit(fsn_exit);
MODULE_LICENSE("GPL");
MODULE_AUTHOR("The falco-sensor authors");
MODULE_DESCRIPTION("System calls into per-CPU rings for falco-sensor");
MODULE_VERSION(FSN_VERSION);
