// SPDX-License-Identifier: GPL-2.0
/*
 * Per-CPU rings: shared memory, reserve and commit, wake-ups.
 *
 * Context: fsn_out_*, fsn_att_*, fsn_enter and fsn_leave run in probes, on the ring's own CPU with preemption
 * off, so there is one producer and no lock. The rest runs in process context under the device lock
 * (main.c). Memory of a ring is allocated at attach and freed at detach, after a grace period in which every
 * probe has left.
 *
 * The consumer's page is written by user space at any time: its tail is used only as "how much room is
 * there", after a check; everything else from it is a hint.
 */
#include "compat.h"
#include <linux/vmalloc.h>

#include "facts.h"
#include "ring.h"
#include "task.h"

struct fsn_ring_config fsn_ring_config = {
	.watermark = 64 * 1024,
	.latency_us = 10 * 1000,
};
atomic64_t fsn_no_ring = ATOMIC64_INIT(0);

/* Between two wake-ups for likely matches. */
#define URGENT_NS	(1000 * 1000)

static struct fsn_ring *rings;
static atomic_t next_epoch = ATOMIC_INIT(0);

#define CONSUMER_PAGES	DIV_ROUND_UP(sizeof(struct fsn_consumer), PAGE_SIZE)
#define PRODUCER_PAGES	DIV_ROUND_UP(sizeof(struct fsn_producer), PAGE_SIZE)
#define RESERVE		16	/* one of so many parts of the host's memory is left to others */

struct fsn_ring *fsn_ring_of(unsigned int cpu)
{
	return cpu < nr_cpu_ids && cpu_possible(cpu) ? &rings[cpu] : NULL;
}

/* ---- probe entry ---------------------------------------------------------------------------------- */

/*
 * Every probe begins here, whatever the tracepoint promises: system-call probes are preemptible from 6.13,
 * all probes from 7.x on. NULL: a probe is already running on this CPU; the event is counted, not taken.
 */
struct fsn_ring *fsn_enter(void)
{
	struct fsn_ring *ring;

	preempt_disable_notrace();
	rcu_read_lock();
	ring = &rings[raw_smp_processor_id()];
	if (unlikely(ring->busy)) {
		if (fsn_ring_live(ring))
			ring->producer->drops[FSN_DROP_NESTED]++;
		rcu_read_unlock();
		preempt_enable_notrace();
		return NULL;
	}
	ring->busy = 1;
	barrier();	/* same CPU: orders against a probe that interrupts this one */
	__release(RCU);	/* for sparse only: fsn_leave() has it from here */
	return ring;
}

void fsn_leave(struct fsn_ring *ring)
{
	__acquire(RCU);	/* for sparse only: fsn_enter() took it */
	barrier();	/* see fsn_enter */
	ring->busy = 0;
	rcu_read_unlock();
	preempt_enable_notrace();
}

char *fsn_scratch(struct fsn_ring *ring)
{
	return ring->scratch;
}

void fsn_count_fault(struct fsn_ring *ring)
{
	if (fsn_ring_live(ring))
		ring->producer->faults++;
}

void fsn_count_cut(struct fsn_ring *ring)
{
	if (fsn_ring_live(ring))
		ring->producer->truncated++;
}

/* ---- records -------------------------------------------------------------------------------------- */

/* Bytes the consumer has not given back; a nonsensical tail leaves no room and so hurts only itself. */
static u32 ring_room(struct fsn_ring *ring)
{
	/* pairs with the consumer's release store of tail: its reads of the records are done */
	u64 used = ring->head - smp_load_acquire(&ring->consumer->tail);

	return used <= ring->size ? ring->size - (u32)used : 0;
}

bool fsn_out_begin(struct fsn_out *o, struct fsn_ring *ring, u16 type, u16 slot, u32 fixed)
{
	u32 room = ring_room(ring);
	struct fsn_record *h;

	o->ring = ring;
	o->natts = 0;
	o->ring_full = room < FSN_RECORD_MAX;
	o->start = ring->data + (ring->head & (ring->size - 1));
	o->pos = o->start;
	o->end = o->start + min_t(u32, room, FSN_RECORD_MAX);
	h = fsn_out_put(o, fixed);
	if (!h)
		return false;
	h->type = type;
	h->slot = slot;
	h->time = fsn_clock();
	return true;
}

void *fsn_out_put(struct fsn_out *o, u32 len)
{
	void *p = o->pos;

	if (unlikely(len > fsn_out_room(o)))
		return NULL;
	o->pos += len;
	return p;
}

void fsn_out_commit(struct fsn_out *o)
{
	struct fsn_ring *ring = o->ring;
	struct fsn_record *h = (struct fsn_record *)o->start;
	u32 len = o->pos - o->start;

	/* room and FSN_RECORD_MAX are multiples of 8, so padding always fits */
	while (len & 7)
		o->start[len++] = 0;
	h->len = len;
	ring->head += len;
	/* pairs with the consumer's acquire load of head: the record is complete before it is seen */
	smp_store_release(&ring->producer->head, ring->head);
}

void fsn_out_drop(struct fsn_out *o, enum fsn_drop cause)
{
	o->ring->producer->drops[cause]++;
}

struct fsn_att *fsn_att_begin(struct fsn_out *o, u8 kind, u8 param, u32 want, u32 *room)
{
	struct fsn_att *att;
	u32 left = fsn_out_room(o) & ~7u;

	if (left < sizeof(*att) || left - sizeof(*att) < want) {
		o->ring_full |= left < FSN_RECORD_MAX / 2;
		return NULL;
	}
	att = (struct fsn_att *)o->pos;
	att->kind = kind;
	att->param = param;
	att->flags = 0;
	att->len = 0;
	*room = left - sizeof(*att);
	return att;
}

void fsn_att_count(struct fsn_ring *ring, u16 flags)
{
	if (flags & FSN_ATT_FAULT)
		fsn_count_fault(ring);
	if (flags & FSN_ATT_CUT)
		fsn_count_cut(ring);
}

void fsn_ring_reset(struct fsn_ring *ring, u32 reset)
{
	struct fsn_out o;

	if (!fsn_out_begin(&o, ring, FSN_REC_RESET, FSN_SLOT_NONE, sizeof(struct fsn_record)))
		return;		/* no room: asked again at the next event */
	fsn_out_commit(&o);
	ring->reset_seen = reset;
	ring->epoch = atomic_inc_return(&next_epoch);
}

/* ---- waking the consumer ---------------------------------------------------------------------------- */

static void ring_wake_now(struct fsn_ring *ring)
{
	WRITE_ONCE(ring->consumer->sleeping, 0);
	ring->producer->wakeups++;
	wake_up_interruptible(&ring->wait);
}

/* hard interrupt: the latency bound of the oldest record the consumer has not seen */
static enum hrtimer_restart ring_timer(struct hrtimer *timer)
{
	struct fsn_ring *ring = container_of(timer, struct fsn_ring, timer);

	WRITE_ONCE(ring->due, true);
	WRITE_ONCE(ring->timer_armed, false);
	if (fsn_ring_live(ring))
		ring_wake_now(ring);
	return HRTIMER_NORESTART;
}

/*
 * After a commit. Nothing is done while the consumer is awake; a sleeping one is woken at the watermark, and
 * otherwise when the latency bound has passed since the first record it does not know of.
 */
void fsn_ring_wake(struct fsn_ring *ring)
{
	u64 unread;

	/*
	 * Full barrier between the store of head and the load of sleeping: pairs with the consumer's store of
	 * sleeping, fence, load of head. One of the two sees the other's store.
	 */
	smp_mb();
	if (likely(!READ_ONCE(ring->consumer->sleeping)))
		return;
	unread = ring->head - READ_ONCE(ring->consumer->tail);
	if (unread >= READ_ONCE(fsn_ring_config.watermark)) {
		ring_wake_now(ring);
	} else if (!READ_ONCE(ring->timer_armed)) {
		WRITE_ONCE(ring->due, false);
		WRITE_ONCE(ring->timer_armed, true);
		hrtimer_start(&ring->timer,
			      ns_to_ktime((u64)READ_ONCE(fsn_ring_config.latency_us) * 1000),
			      HRTIMER_MODE_REL);
	}
}

/*
 * After the commit of an event that a rule is likely to match: a sleeping consumer is woken at once, though not more often than
 * URGENT_NS apart, whatever the rules are.
 */
void fsn_ring_wake_urgently(struct fsn_ring *ring)
{
	u64 now;

	smp_mb();	/* as in fsn_ring_wake() */
	if (likely(!READ_ONCE(ring->consumer->sleeping)))
		return;
	now = fsn_clock();
	if (now - ring->urgent_at < URGENT_NS) {
		fsn_ring_wake(ring);
		return;
	}
	ring->urgent_at = now;
	WRITE_ONCE(ring->due, true);	/* readable, however little there is */
	ring_wake_now(ring);
}

bool fsn_ring_readable(struct fsn_ring *ring)
{
	u64 unread = READ_ONCE(ring->producer->head) - READ_ONCE(ring->consumer->tail);

	if (!unread)
		return false;
	return unread >= READ_ONCE(fsn_ring_config.watermark) || READ_ONCE(ring->due);
}

/* ---- shared memory ------------------------------------------------------------------------------------ */

static void ring_free(struct fsn_ring *ring)
{
	unsigned int i;

	if (ring->map)
		vunmap(ring->map);
	for (i = 0; ring->pages && i < ring->npages; i++) {
		cond_resched();
		if (ring->pages[i])
			put_page(ring->pages[i]);	/* a mapping that outlives us keeps its own */
	}
	vfree(ring->pages);
	vfree(ring->slots);
	ring->map = NULL;
	ring->pages = NULL;
	ring->slots = NULL;
	ring->recent = NULL;
	ring->consumer = NULL;
	ring->producer = NULL;
	ring->data = NULL;
}

/*
 * Whether so many pages can be had and the host keeps some. A ring that is too large is the consumer's mistake: an error, no
 * reason to kill somebody for memory, nor to reclaim the last pages one by one.
 */
static bool memory_for(unsigned long pages)
{
	struct sysinfo info;

	si_meminfo(&info);
	return fsn_pages_available() - (long)pages >= (long)(info.totalram / RESERVE);
}

/* Whether there is memory for a ring of @bytes of each CPU that is online. process. */
bool fsn_rings_fit(u32 bytes)
{
	return memory_for((unsigned long)num_online_cpus() * (bytes >> PAGE_SHIFT));
}

/**
 * fsn_ring_attach - give a CPU's ring its memory and let the probes use it
 * @ring: a ring that is not live
 * @bytes: size of the data area, a power of two of at least a page
 *
 * Return: 0, -ENOMEM or, when the caller is being killed, -EINTR, with nothing left allocated.
 */
int fsn_ring_attach(struct fsn_ring *ring, u32 bytes)
{
	unsigned int head = CONSUMER_PAGES + PRODUCER_PAGES;
	struct page **twice;
	int err = -ENOMEM;
	unsigned int i;

	ring->data_pages = bytes >> PAGE_SHIFT;
	ring->npages = head + ring->data_pages;
	if (!memory_for(ring->npages))
		return -ENOMEM;
	ring->pages = vzalloc((ring->npages) * sizeof(*ring->pages));
	ring->slots = vzalloc((FSN_SLOTS) * sizeof(*ring->slots));
	twice = vzalloc((ring->npages + ring->data_pages) * sizeof(*twice));
	if (!ring->pages || !ring->slots || !twice)
		goto fail;
	for (i = 0; i < ring->npages; i++) {
		cond_resched();
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			goto fail;
		}
		ring->pages[i] = alloc_pages_node(cpu_to_node(ring->cpu),
						  GFP_KERNEL | __GFP_ZERO | __GFP_NOWARN |
						  __GFP_NORETRY, 0);
		if (!ring->pages[i])
			goto fail;
		twice[i] = ring->pages[i];
		if (i >= head)
			twice[i + ring->data_pages] = ring->pages[i];
	}
	for (i = 0; i < FSN_SLOTS; i++)
		ring->slots[i].index = i;
	ring->map = vmap(twice, ring->npages + ring->data_pages, VM_MAP, PAGE_KERNEL);
	if (!ring->map)
		goto fail;
	vfree(twice);
	ring->consumer = ring->map;
	ring->producer = ring->map + CONSUMER_PAGES * PAGE_SIZE;
	ring->data = ring->map + head * PAGE_SIZE;
	ring->size = bytes;
	ring->head = 0;
	ring->reset_seen = 0;
	ring->due = false;
	ring->epoch = atomic_inc_return(&next_epoch);
	ring->producer->data_size = bytes;
	ring->producer->cpu = ring->cpu;
	/* pairs with the probes' reading of live: a smp_wmb would do, this is no hot path */
	smp_mb();
	WRITE_ONCE(ring->live, true);
	return 0;
fail:
	vfree(twice);
	ring_free(ring);
	return err;
}

/* Takes the ring from the probes and frees its memory. process, may wait for a grace period. */
void fsn_ring_detach(struct fsn_ring *ring)
{
	if (!ring->live)
		return;
	WRITE_ONCE(ring->live, false);
	synchronize_rcu();	/* every probe that saw it live has left: fsn_enter to fsn_leave is one reader */
	hrtimer_cancel(&ring->timer);
	WRITE_ONCE(ring->timer_armed, false);
	ring_free(ring);
}

/**
 * fsn_ring_mmap - map a ring's consumer or producer area
 * @ring: a live ring
 * @vma: shared; the whole area and nothing else; read-only for the producer's
 * @producer: which of the two
 *
 * Return: 0, -EINVAL for a wrong size or a private mapping, -EPERM for a writable producer area.
 */
int fsn_ring_mmap(struct fsn_ring *ring, struct vm_area_struct *vma, bool producer)
{
	unsigned long pages = (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
	unsigned int first = producer ? CONSUMER_PAGES : 0;
	unsigned int want = CONSUMER_PAGES;
	unsigned long i;
	int err;

	if (producer)
		want = PRODUCER_PAGES + 2 * ring->data_pages;
	if (pages != want || !(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (producer && (vma->vm_flags & VM_WRITE))
		return -EPERM;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	fsn_vm_flags(vma, VM_DONTEXPAND | VM_DONTCOPY | VM_DONTDUMP,
		     VM_MAYEXEC | (producer ? VM_MAYWRITE : 0));
	for (i = 0; i < pages; i++) {
		unsigned int p = first + i;

		cond_resched();
		if (p >= ring->npages)
			p -= ring->data_pages;
		err = vm_insert_page(vma, vma->vm_start + i * PAGE_SIZE, ring->pages[p]);
		if (err)
			return err;
	}
	return 0;
}

int fsn_rings_init(void)
{
	unsigned int cpu;

	BUILD_BUG_ON(sizeof(struct fsn_consumer) != 128 + 16 * FSN_SLOTS);
	BUILD_BUG_ON(sizeof(struct fsn_record) != 16);
	BUILD_BUG_ON(sizeof(struct fsn_exec) != 120);
	BUILD_BUG_ON(sizeof(struct fsn_relative) != 72);
	BUILD_BUG_ON(sizeof(struct fsn_task) != 248);
	BUILD_BUG_ON(sizeof(struct fsn_event) != 88);
	BUILD_BUG_ON(sizeof(struct fsn_att) != 8);
	BUILD_BUG_ON(sizeof(struct fsn_fd) != 48);
	BUILD_BUG_ON(sizeof(struct fsn_sock) != 72);
	BUILD_BUG_ON(sizeof(struct fsn_filter) != 24 + FSN_FILTER_CODES);
	BUILD_BUG_ON(sizeof(struct fsn_test) != 24);
	BUILD_BUG_ON(sizeof(struct fsn_string) != 8);
	BUILD_BUG_ON(sizeof(struct fsn_step) != 8);
	BUILD_BUG_ON(sizeof(struct fsn_set) != 32 + FSN_PAIRS);
	BUILD_BUG_ON(sizeof(struct fsn_program) != 22);
	BUILD_BUG_ON(FSN_FILTER_CODES != FSN_EVENT_CODES);
	BUILD_BUG_ON(PRODUCER_PAGES != 1);

	rings = vzalloc((nr_cpu_ids) * sizeof(*rings));
	if (!rings)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct fsn_ring *ring = &rings[cpu];

		ring->cpu = cpu;
		init_waitqueue_head(&ring->wait);
		fsn_hrtimer_setup(&ring->timer, ring_timer);
		ring->scratch = kmalloc_node(FSN_PATH_MAX + sizeof(u64), GFP_KERNEL, cpu_to_node(cpu));
		ring->facts = kmalloc_node(FSN_FACTS_BYTES, GFP_KERNEL, cpu_to_node(cpu));
		if (fsn_directories_init(ring) || fsn_stopped_init(ring) || !ring->scratch || !ring->facts) {
			fsn_rings_exit();
			return -ENOMEM;
		}
	}
	return 0;
}

/* No probe is attached and no file open any more. */
void fsn_rings_exit(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		fsn_ring_detach(&rings[cpu]);
		kfree(rings[cpu].scratch);
		kfree(rings[cpu].facts);
		kfree(rings[cpu].directories);
		kfree(rings[cpu].stopped);
	}
	vfree(rings);
	rings = NULL;
}
