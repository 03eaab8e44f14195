/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The per-CPU ring as the probes, the task slots and the device see it.
 */
#ifndef FSN_RING_H
#define FSN_RING_H

#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/wait.h>

#include "sensor.h"

struct fsn_slot;
struct fsn_directory;
struct fsn_stopped;

/*
 * One per possible CPU, for the life of the module. @live says whether the shared memory is there: set and
 * cleared in process context (device lock held), followed by a grace period before the memory goes.
 * Everything below "producer" is touched by this CPU's probes only.
 */
struct fsn_ring {
	int cpu;
	bool live;
	/* shared memory */
	struct page **pages;		/* consumer area, producer page, data */
	unsigned int npages;
	unsigned int data_pages;
	void *map;			/* kernel mapping: consumer, producer, data, data again */
	struct fsn_consumer *consumer;
	struct fsn_producer *producer;
	char *data;
	u32 size;			/* bytes of the data area */
	/* producer */
	int busy;			/* a probe is running on this CPU */
	u64 head;			/* the authoritative one */
	u32 epoch;			/* what was sent before belongs to another epoch */
	u32 reset_seen;
	u64 head_woken;			/* head when the consumer was last woken */
	struct fsn_slot *slots;
	struct fsn_slot *recent;	/* the last that was used or asked about, or NULL */
	const struct fsn_interest *recent_interest;	/* of @recent */
	char *scratch;
	char *facts;			/* texts that conditions are about: FSN_FACTS_BYTES */
	struct fsn_directory *directories;	/* file.c */
	u64 directory_number;		/* the last one that was given */
	struct fsn_stopped *stopped;	/* facts.c */
	u64 urgent_at;			/* last wake-up for a likely match */
	unsigned long nested;		/* counted here while there is no producer page */
	/* waking the consumer */
	wait_queue_head_t wait;
	struct hrtimer timer;
	bool timer_armed;
	bool due;			/* the latency bound passed with data in the ring */
	void *owner;			/* struct file bound to it, or NULL; device lock */
};

/* Wake-up policy and ring size, as configured. */
struct fsn_ring_config {
	u32 watermark;
	u32 latency_us;
};
extern struct fsn_ring_config fsn_ring_config;

/* process */
int fsn_rings_init(void);
void fsn_rings_exit(void);
bool fsn_rings_fit(u32 bytes);
int fsn_ring_attach(struct fsn_ring *ring, u32 bytes);
void fsn_ring_detach(struct fsn_ring *ring);
int fsn_ring_mmap(struct fsn_ring *ring, struct vm_area_struct *vma, bool producer);
bool fsn_ring_readable(struct fsn_ring *ring);
struct fsn_ring *fsn_ring_of(unsigned int cpu);

/* probe */
static inline bool fsn_ring_live(const struct fsn_ring *ring)
{
	return READ_ONCE(ring->live);
}

/* Forget what was sent, as the consumer has asked by @reset. probe. */
void fsn_ring_reset(struct fsn_ring *ring, u32 reset);

static inline void fsn_ring_check_reset(struct fsn_ring *ring)
{
	u32 reset = READ_ONCE(ring->consumer->reset);

	if (unlikely(reset != ring->reset_seen))
		fsn_ring_reset(ring, reset);
}

void fsn_ring_wake(struct fsn_ring *ring);
void fsn_ring_wake_urgently(struct fsn_ring *ring);

/* Events on a CPU without a ring; counted while a consumer is there. */
extern atomic64_t fsn_no_ring;

#endif /* FSN_RING_H */
