// SPDX-License-Identifier: GPL-2.0
/*
 * Both ends of a socket: addresses, ports, unix names, state and which end is the server.
 *
 * Context: probe, with a reference on the socket's file. Addresses are plain racy reads, as a connect or
 * bind of another thread may change them at any time. The peer of a unix socket is held by a reference
 * while it is looked at. No kernel address leaves this file: sockets are told apart by inode numbers.
 */
#include "compat.h"
#include <linux/net.h>
#include <linux/un.h>
#include <net/sock.h>
#include <net/inet_sock.h>
#include <net/ipv6.h>
#include <net/tcp_states.h>
#include <net/af_unix.h>

#include "sensor.h"

/* Local ports that programs get when they do not ask for one start here by default (ip_local_port_range). */
#define EPHEMERAL_PORTS	32768

static bool has_ports(u16 type)
{
	return type == SOCK_STREAM || type == SOCK_DGRAM || type == SOCK_SEQPACKET || type == SOCK_DCCP;
}

static void put_inet(struct fsn_sock *s, struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);
	__be32 local = READ_ONCE(inet->inet_rcv_saddr);
	__be32 remote = READ_ONCE(inet->inet_daddr);

	if (!local)
		local = READ_ONCE(inet->inet_saddr);
	memcpy(s->laddr, &local, sizeof(local));
	memcpy(s->raddr, &remote, sizeof(remote));
	if (has_ports(s->type)) {
		s->lport = ntohs(READ_ONCE(inet->inet_sport));
		s->rport = ntohs(READ_ONCE(inet->inet_dport));
	}
}

#if IS_ENABLED(CONFIG_IPV6)
static void put_inet6(struct fsn_sock *s, struct sock *sk)
{
	struct inet_sock *inet = inet_sk(sk);
	struct ipv6_pinfo *np = inet6_sk(sk);
	struct in6_addr local = *fsn_v6_local(sk);
	struct in6_addr remote = *fsn_v6_remote(sk);

	if (ipv6_addr_any(&local) && np)
		local = np->saddr;
	memcpy(s->laddr, &local, sizeof(local));
	memcpy(s->raddr, &remote, sizeof(remote));
	if (has_ports(s->type)) {
		s->lport = ntohs(READ_ONCE(inet->inet_sport));
		s->rport = ntohs(READ_ONCE(inet->inet_dport));
	}
}
#endif

#if IS_ENABLED(CONFIG_UNIX)
/* Copies the name @sk is bound to, at most @room bytes; an abstract one starts with a NUL byte. */
static u32 unix_name(struct sock *sk, char *to, u32 room)
{
	/* pairs with the release store of bind: the address is complete */
	const struct unix_address *addr = smp_load_acquire(&unix_sk(sk)->addr);
	const char *path;
	int len;

	if (!addr)
		return 0;
	path = addr->name->sun_path;
	len = addr->len - (int)offsetof(struct sockaddr_un, sun_path);
	if (len <= 0)
		return 0;
	if (path[0])
		len = strnlen(path, len);
	len = min_t(u32, len, room);
	memcpy(to, path, len);
	return len;
}

/* Names behind @s; returns their bytes. */
static u32 put_unix(struct fsn_sock *s, struct sock *sk, u32 room)
{
	char *names = (char *)(s + 1);
	struct sock *peer;

	s->lname_len = unix_name(sk, names, room);
	peer = unix_peer_get(sk);
	if (peer) {
		s->rname_len = unix_name(peer, names + s->lname_len, room - s->lname_len);
		s->peer_ino = sock_i_ino(peer);
		sock_put(peer);
	}
	return s->lname_len + s->rname_len;
}
#endif

/* Whether a socket in this state has another end for good. */
static bool has_peer(u8 state)
{
	switch (state) {
	case TCP_CLOSE:
	case TCP_LISTEN:
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return false;
	default:
		return true;
	}
}

static bool is_connected(const struct fsn_sock *s)
{
	if (s->family == AF_UNIX)
		return has_peer(s->state) || s->peer_ino;
	return (s->family == AF_INET || s->family == AF_INET6) && has_peer(s->state);
}

bool fsn_sock_ports(struct socket *sock, u16 *local, u16 *remote)
{
	struct sock *sk = READ_ONCE(sock->sk);

	if (!sk || (sk->sk_family != AF_INET && sk->sk_family != AF_INET6) || !has_ports(sock->type) ||
	    !has_peer(READ_ONCE(sk->sk_state)))
		return false;
	*local = ntohs(READ_ONCE(inet_sk(sk)->inet_sport));
	*remote = ntohs(READ_ONCE(inet_sk(sk)->inet_dport));
	return true;
}

/* Which end this is, when no accept or connect tells. */
static u8 guess_role(const struct fsn_sock *s)
{
	if (s->state == TCP_LISTEN)
		return FSN_ROLE_SERVER;
	/* of two connected unix sockets the one that a program gave a name was listening */
	if ((s->flags & FSN_SOCK_CONNECTED) && !s->lname_len != !s->rname_len)
		return s->lname_len ? FSN_ROLE_SERVER : FSN_ROLE_CLIENT;
	if (!s->lport || !s->rport)
		return FSN_ROLE_NONE;
	if ((s->lport < EPHEMERAL_PORTS) != (s->rport < EPHEMERAL_PORTS))
		return s->lport < EPHEMERAL_PORTS ? FSN_ROLE_SERVER : FSN_ROLE_CLIENT;
	return s->lport < s->rport ? FSN_ROLE_SERVER : FSN_ROLE_CLIENT;
}

static void backlog_of(const struct sock *sk, u32 *len, u32 *max)
{
	*len = READ_ONCE(sk->sk_ack_backlog);
	*max = READ_ONCE(sk->sk_max_ack_backlog);
}

u32 fsn_sock_text(struct socket *sock, u8 role, char *buf, u32 size)
{
	struct fsn_sock *s = (struct fsn_sock *)buf;
	struct sock *sk = READ_ONCE(sock->sk);
	u32 names = 0, len, max;

	/* room for two names of the longest kind */
	if (size < sizeof(*s) + 2 * sizeof(struct sockaddr_un))
		return 0;
	memset(s, 0, sizeof(*s));
	s->ino = SOCK_INODE(sock)->i_ino;
	s->type = sock->type;
	if (!sk)
		return sizeof(*s);
	s->family = sk->sk_family;
	s->protocol = sk->sk_protocol;
	s->state = READ_ONCE(sk->sk_state);
	switch (s->family) {
	case AF_INET:
		put_inet(s, sk);
		break;
#if IS_ENABLED(CONFIG_IPV6)
	case AF_INET6:
		put_inet6(s, sk);
		break;
#endif
#if IS_ENABLED(CONFIG_UNIX)
	case AF_UNIX:
		names = put_unix(s, sk, size - sizeof(*s));
		break;
#endif
	}
	if (s->state == TCP_LISTEN && s->type != SOCK_DGRAM) {
		backlog_of(sk, &len, &max);
		s->flags |= FSN_SOCK_LISTEN;
		s->backlog = min_t(u32, len, 0xffff) << 16 | min_t(u32, max, 0xffff);
	}
	if (is_connected(s))
		s->flags |= FSN_SOCK_CONNECTED;
	s->role = role;
	if (role == FSN_ROLE_NONE) {
		s->role = guess_role(s);
		if (s->role != FSN_ROLE_NONE)
			s->flags |= FSN_SOCK_ROLE_GUESSED;
	}
	return sizeof(*s) + names;
}

bool fsn_fd_backlog(int nr, u32 *len, u32 *max)
{
	bool borrowed, found = false;
	struct file *file = fsn_file_get(nr, &borrowed);
	struct socket *sock;

	if (!file)
		return false;
	sock = S_ISSOCK(file_inode(file)->i_mode) ? fsn_sock_from_file(file) : NULL;
	if (sock && sock->sk) {
		backlog_of(sock->sk, len, max);
		found = true;
	}
	fsn_file_put(file, borrowed);
	return found;
}
