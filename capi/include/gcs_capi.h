/* SPDX-License-Identifier: Apache-2.0
 *
 * gcs_capi: a client of Ray's GCS (Global Control Service), for any language that can call C.
 *
 * The rules that hold everywhere
 *
 *  Completion   Every asynchronous function takes a completion target: a function pointer and a `void *user`. An error
 *               return means that nothing will ever be delivered. GCS_OK means exactly one terminal event, never
 *               from inside the submitting call, and the id is known before the event can arrive. The library's own
 *               queue is one such target: pass gcs_queue_push and (void *)(uintptr_t)queue.
 *  Ownership    What you pass in is copied before the function returns, except a body with a `release` function. An
 *               event that a target receives, and whatever comes out through an `out_` parameter, is yours, and is
 *               freed by the function that its comment names. Every free takes NULL. Accessors lend: what they
 *               return lives as long as the object that they were asked about.
 *  Handles      gcs_client and gcs_queue are numbers, never dereferenced. A zero, stale, forged or closed handle gives
 *               GCS_BAD_HANDLE. Closing never blocks and may be done anywhere, callbacks and finalizers included.
 *  Threads      Every function may be called from any thread at any time unless its comment says otherwise. Callbacks
 *               run on the library's one I/O thread, or on the thread that drains or closes a queue; no lock is held
 *               meanwhile, and a callback may submit, cancel, query and close. A callback must not block for long:
 *               every client of the process waits for it.
 *  Time         Relative, in nanoseconds: GCS_TIMEOUT_NONE is none, 0 has already expired, GCS_TIMEOUT_DEFAULT is what
 *               the client was made with, and means nothing to a queue. Any other negative time is GCS_INVALID_ARGUMENT.
 *  Text         UTF-8. What is lent as `const char *` ends with a NUL.
 *  Fork         In a child process every handle made before the fork gives GCS_FORKED; a new client works.
 *  Errors       A gcs_status, and where more is to be said an optional `gcs_error **out_error` (pass NULL to go without).
 *
 * 64-bit platforms only.
 */
#ifndef GCS_CAPI_H
#define GCS_CAPI_H

/* GCS_CDEF is defined where a binding generator reads this file as bare declarations. */
#ifndef GCS_CDEF
#include <stddef.h>
#include <stdint.h>
#if defined(__GNUC__) || defined(__clang__)
#define GCS_API __attribute__((visibility("default")))
#else
#define GCS_API
#endif
#ifdef __cplusplus
extern "C" {
#endif
#else
#define GCS_API
#endif

/* ---- Status ------------------------------------------------------------------------------------------------------ */

/* 0 is success. 1 to 16 are the status codes of gRPC. GCS_RAY_STATUS + n is Ray's own status code n, out of a reply.
 * Negative ones are raised by this library. */
typedef int32_t gcs_status;

enum {
  GCS_OK = 0,
  GCS_INVALID_ARGUMENT = -1, /* refused before anything was sent */
  GCS_BAD_HANDLE = -2,       /* zero, stale, forged or closed */
  GCS_CLOSED = -3,           /* the client or the queue was closed under the call */
  GCS_CANCELLED = -4,        /* gcs_cancel() */
  GCS_DEADLINE = -5,         /* the timeout expired */
  GCS_CONNECTION_LOST = -6,  /* the connection went away under the call */
  GCS_CLUSTER_CHANGED = -7,  /* the GCS came back as another cluster */
  GCS_FORKED = -8,           /* the handle belongs to the parent process */
  GCS_ABI = -9,              /* header and library do not fit, or a struct_size that cannot be */
  GCS_NO_MEMORY = -10,
  GCS_WOULD_DEADLOCK = -11, /* a waiting function was called on a library thread */
  GCS_NOT_FOUND = -12,
  GCS_LIMIT = -13,       /* over a limit of the client: message size, pending calls */
  GCS_UNSUPPORTED = -14, /* this server cannot do it, or is of another release than the request was made for */
  GCS_INTERRUPTED = -15, /* a blocking wait was interrupted by a signal */
  GCS_INTERNAL = -16,    /* a reply that cannot be read, or a fault of this library */
  GCS_UNAVAILABLE = -17, /* no connection could be made */
  GCS_RAY_STATUS = 1000,
  GCS_RAY_NOT_FOUND = 1017 /* of a KV get: there is no such key */
};

/* What the status alone does not tell; bits of the flags of an event or an error. */
enum {
  GCS_FLAG_LOCAL = 1,          /* raised here, not by the server */
  GCS_FLAG_MAYBE_EXECUTED = 2, /* the server may have carried the request out */
  GCS_FLAG_RETRYABLE = 4, /* not the call's own fault: it may succeed later. Whether it is safe to make it again is what
                                  GCS_FLAG_MAYBE_EXECUTED says */
  GCS_FLAG_TIMEOUT = 8,   /* a deadline, here or on the server */
  GCS_FLAG_AUTH = 16      /* the token is missing or wrong */
};

enum { GCS_TIMEOUT_NONE = -1, GCS_TIMEOUT_DEFAULT = -2 };

/* ---- Types ------------------------------------------------------------------------------------------------------- */

typedef uint64_t gcs_client;
typedef uint64_t gcs_queue;
typedef struct gcs_event gcs_event;   /* gcs_event_free() */
typedef struct gcs_buffer gcs_buffer; /* gcs_buffer_free() */
typedef struct gcs_error gcs_error;   /* gcs_error_free() */

/* A view of bytes; data may be NULL when size is 0. */
typedef struct gcs_bytes {
  const void *data;
  size_t size;
} gcs_bytes;

typedef void (*gcs_release_fn)(void *user, const void *data, size_t size);

/* A request body. release == NULL: copied before the function returns. Otherwise lent: it must stay as it is until
 * release(user, data, size) runs, which happens exactly once if the call was accepted and never if it was not; on the
 * I/O thread or the thread that frees the event, but where the completion target is a queue on the thread that drains
 * or closes that queue (on the I/O thread if it comes due after the close). */
typedef struct gcs_body {
  const void *data;
  size_t size;
  gcs_release_fn release;
  void *user;
} gcs_body;

/* A completion target. The event belongs to the function, which frees it with gcs_event_free(), there or later. */
typedef void (*gcs_completion_fn)(void *user, gcs_event *event);

/* Called when a queue turns from empty to non-empty, from whichever thread did it, with no lock held. */
typedef void (*gcs_wake_fn)(void *user);

/* ---- Library ----------------------------------------------------------------------------------------------------- */

/* Grows with every addition to this header. A library serves every header up to its own. */
enum { GCS_ABI_VERSION = 1 };

/* The GCS_ABI_VERSION of the library. */
GCS_API uint32_t gcs_abi_version(void);

/* GCS_OK, or GCS_ABI if the library is older than the header that the caller was compiled with. Pass GCS_ABI_VERSION. */
GCS_API gcs_status gcs_abi_check(uint32_t header_version);

/* The library's release, such as "0.1.0". Static. */
GCS_API const char *gcs_version(void);

/* 1 if the library has the named feature ("kv", "packed", "ray_version", "subscriptions", "tls", "wake"), else 0. */
GCS_API int32_t gcs_has_feature(const char *name);

/* A status' name, such as "GCS_DEADLINE", "UNAVAILABLE" or "RAY_NOT_FOUND"; "UNKNOWN_STATUS" for any other. Static. */
GCS_API const char *gcs_status_name(gcs_status status);

/* Walks the statuses that this library knows: GCS_OK and *out_status for index 0, 1, 2, ...; then GCS_NOT_FOUND. */
GCS_API gcs_status gcs_status_at(size_t index, gcs_status *out_status);

/* The monotonic clock that packed records name, in nanoseconds. */
GCS_API int64_t gcs_now(void);

/* Closes every client, handle included, and waits until the I/O thread has ended, `timeout` at most (GCS_DEADLINE after
 * that). The library can be used again afterwards. GCS_WOULD_DEADLOCK on a library thread. */
GCS_API gcs_status gcs_shutdown(int64_t timeout);

/* ---- Options ----------------------------------------------------------------------------------------------------- */

enum { GCS_CLUSTER_CHANGE_ERROR = 0, GCS_CLUSTER_CHANGE_ADOPT = 1 };

typedef struct gcs_client_options {
  size_t struct_size;        /* sizeof(gcs_client_options); new fields only ever come at the end */
  const char *address;       /* "host:port" or "[v6]:port". NULL: RAY_ADDRESS, then the file that `ray start` leaves */
  const char *cluster_id;    /* the one expected, 56 hex digits. NULL: any */
  const char *token;         /* NULL: found as Ray finds it (RAY_AUTH_TOKEN, ...); "": none is sent */
  int64_t connect_timeout;   /* one attempt, and what gcs_client_connect() gets by default; 5 s */
  int64_t timeout;           /* what a call gets that names none; 60 s */
  int32_t on_cluster_change; /* GCS_CLUSTER_CHANGE_ERROR: every call fails with GCS_CLUSTER_CHANGED; ..._ADOPT: go on */
  int32_t wait_for_ready;    /* 1: calls wait for a connection within their timeout; 0: they fail at once, but wait
                                for the very first attempt. Default 1 */
  uint64_t max_send_message; /* bytes; 512 MiB */
  uint64_t max_receive_message; /* bytes; 512 MiB */
  int64_t tcp_user_timeout;     /* 20 s */
  gcs_completion_fn event_fn;   /* gets GCS_EVENT_STATE events and one GCS_EVENT_CLIENT_CLOSED; may be NULL */
  void *event_user;
  uint64_t max_pending_calls; /* until their events are taken; one more is refused with GCS_LIMIT at once. 1 000 000 */
  uint64_t max_pending_bytes; /* of the requests of these; 4 GiB */
  int32_t tls;      /* 1: with TLS; 0: without; -1, the default: if a tls_ field is given, or RAY_USE_TLS says so */
  int32_t reserved; /* 0 */
  /* PEM files, read when the client is made, and again before it connects when they have changed. All three NULL: those of
   * RAY_TLS_CA_CERT, RAY_TLS_SERVER_CERT and RAY_TLS_SERVER_KEY. A program that calls OPENSSL_cleanup() itself calls
   * gcs_shutdown() before: threads of this library that need OpenSSL later never come back. */
  const char *tls_ca_file;     /* the authorities to trust. NULL: the system's */
  const char *tls_cert_file;   /* the certificate to show, and those that lead to its authority. NULL: none */
  const char *tls_key_file;    /* its key, without a passphrase */
  const char *tls_server_name; /* the host or address that the server's certificate names. NULL: the address's */
} gcs_client_options;

/* Fills in the defaults. Pass sizeof(gcs_client_options). GCS_ABI for a size that no release had. */
GCS_API gcs_status gcs_client_options_init(gcs_client_options *options, size_t struct_size);

enum { GCS_RETRY_DEFAULT = 0, GCS_RETRY_NEVER = 1, GCS_RETRY_SAFE = 2, GCS_RETRY_ALWAYS = 3 };

typedef struct gcs_call_options {
  size_t struct_size;     /* sizeof(gcs_call_options) */
  int64_t timeout;        /* GCS_TIMEOUT_DEFAULT */
  int32_t wait_for_ready; /* -1: as the client; 0; 1 */
  int32_t retry;          /* GCS_RETRY_DEFAULT, which is GCS_RETRY_SAFE */
  /* The release of Ray that the request was encoded for, as gcs_ray_version_number() writes it; 0: any. Such a call is sent to a
   * server of that release only, and ends with GCS_UNSUPPORTED (GCS_FLAG_LOCAL, GCS_FLAG_RETRYABLE: encode it anew) when the
   * server is another, also when it has become another while the call waited or was to be sent again. The first such call of a
   * client has the library ask the server, and from then on once for each connection. RPC: NodeInfoGcsService.CheckAlive. */
  uint32_t ray_version;
  uint32_t reserved; /* 0 */
} gcs_call_options;

GCS_API gcs_status gcs_call_options_init(gcs_call_options *options, size_t struct_size);

/* A release of Ray as a number, from the text of CheckAlive's ray_version: major * 1 000 000 + minor * 1000 + patch, so that
 * "2.60.0" is 2060000 and "3.0.0.dev0" is 3000000. Of each part the digits that it begins with count, 999 at most; a part that
 * has none is 0. 0 if the text is NULL or does not begin with a digit. */
GCS_API uint32_t gcs_ray_version_number(const char *text);

/* ---- Client ------------------------------------------------------------------------------------------------------ */

enum {
  GCS_STATE_IDLE = 0,
  GCS_STATE_CONNECTING = 1,
  GCS_STATE_READY = 2, /* the peer's SETTINGS and the cluster id are there */
  GCS_STATE_LOST = 3,  /* reconnecting */
  GCS_STATE_CLOSED = 4
};

/* Makes a client; nothing is connected yet. `options` may be NULL. GCS_INVALID_ARGUMENT: an address that cannot be one, a
 * token file or a file for TLS that cannot be used; GCS_NOT_FOUND: no address anywhere; GCS_UNAVAILABLE: threads or descriptors
 * have run out. Free with gcs_client_close() or _destroy(). */
GCS_API gcs_status gcs_client_create(const gcs_client_options *options, gcs_client *out_client, gcs_error **out_error);

/* Connects, retrying until `timeout` (GCS_TIMEOUT_DEFAULT: connect_timeout). One GCS_EVENT_CONNECT, at once if ready. RPC:
 * NodeInfoGcsService.GetClusterId. *id: as in gcs_call(). */
GCS_API gcs_status gcs_client_connect(gcs_client client, int64_t timeout, uint64_t *id, gcs_completion_fn fn,
                                      void *user);

/* One of GCS_STATE_*. */
GCS_API gcs_status gcs_client_state(gcs_client client, int32_t *out_state);

/* Watches the state: one GCS_EVENT_STATE for the present one, then one for each change, all with *id (as in gcs_call()), until
 * gcs_cancel() or the client's end; the last has a status that is not GCS_OK: GCS_CANCELLED or GCS_CLOSED. The state may come
 * again with another reason. A watch counts as a pending call. */
GCS_API gcs_status gcs_client_watch(gcs_client client, uint64_t *id, gcs_completion_fn fn, void *user);

/* "host:port". Free with gcs_buffer_free(). */
GCS_API gcs_status gcs_client_address(gcs_client client, gcs_buffer **out_address);

/* 56 hex digits, or empty while not known. Free with gcs_buffer_free(). */
GCS_API gcs_status gcs_client_cluster_id(gcs_client client, gcs_buffer **out_cluster_id);

/* Counters as a JSON object: "state"; calls "started", "completed" (with a reply), "failed" (in any other way), "pending", of which
 * "waiting" for a connection or room on it, and "in_flight", gcs_client_connect() included; "not_taken": those counted by
 * max_pending_calls; "pending_bytes"; "refused": those beyond these limits, which count nowhere else; "sent_again"; "connects",
 * "disconnects"; "last_disconnect": why the last connection was lost; "last_connect_error": why the last attempt to connect
 * failed; "bytes_sent", "bytes_received"; "methods": by path, or "other", how calls ended ("ok", "failed", "cancelled",
 * "expired") and how often they were "sent_again"; "latencies": from acceptance to end, as [upper bound in nanoseconds, count]
 * pairs that grow. Free with gcs_buffer_free(). */
GCS_API gcs_status gcs_client_stats(gcs_client client, gcs_buffer **out_json);

/* Ends every pending call with GCS_CLOSED and gives the client up. Never blocks. */
GCS_API gcs_status gcs_client_close(gcs_client client);

/* Closes and waits, `timeout` at most (GCS_DEADLINE after that, and the close goes on): after GCS_OK no callback of this
 * client runs any more. GCS_WOULD_DEADLOCK on a library thread: then nothing was done. */
GCS_API gcs_status gcs_client_destroy(gcs_client client, int64_t timeout);

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

/* Methods have numbers that never change; 0 is none. */
GCS_API gcs_status gcs_method_find(const char *path, uint32_t *out_method);
/* "/ray.rpc.Service/Method", or NULL. Static. */
GCS_API const char *gcs_method_path(uint32_t method);

/* Reserves `count` ids, which follow each other, and returns the first. Ids are unique in the process and never 0. Returns
 * 0, and reserves nothing, for a count of 0 or above 2^32. */
GCS_API uint64_t gcs_reserve_ids(uint64_t count);

/* Calls a method with a serialized request. *id: 0 lets the library pick the id and write it there before it submits; else
 * a reserved id that was not used before (one that is in use ends at once with GCS_INVALID_ARGUMENT, in an event
 * of its own). id may be NULL. `options` may be NULL. One GCS_EVENT_CALL whose body is the
 * serialized reply. A status of Ray's own that is not OK turns into GCS_RAY_STATUS + code, whether it comes inside the reply, or as
 * ABORTED with the code's name as the message and the text in the details; another ABORTED stays what it is. UNIMPLEMENTED of a
 * method that has a number says which releases of Ray have it. */
GCS_API gcs_status gcs_call(gcs_client client, uint32_t method, const gcs_body *request,
                            const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                            gcs_error **out_error);

/* The same by path, for any method, also one that this library has never heard of. */
GCS_API gcs_status gcs_call_path(gcs_client client, const char *path, const gcs_body *request,
                                 const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                                 gcs_error **out_error);

typedef struct gcs_call_item {
  size_t struct_size; /* sizeof(gcs_call_item); all items of an array alike */
  gcs_client client;
  uint64_t id;       /* from a reserved block, strictly increasing within the array */
  uint32_t method;   /* 0: by path */
  uint32_t reserved; /* 0 */
  const char *path;
  gcs_body request;
  const gcs_call_options *options; /* may be NULL */
  gcs_completion_fn fn;
  void *user;
} gcs_call_item;

/* Submits many calls with one wake-up. An error return (NULL, a struct_size that cannot be, fn == NULL; GCS_LIMIT: an item is
 * refused whose event would go where 100 000 events of refused items wait to be taken) means that nothing was accepted.
 * Otherwise every item gets exactly one event, refused ones included, and every lent body its release. */
GCS_API gcs_status gcs_call_batch(const gcs_call_item *items, size_t count);

/* Asks for a call's end: it completes with GCS_CANCELLED unless it has already ended. Idempotent; unknown ids are ignored. */
GCS_API gcs_status gcs_cancel(gcs_client client, uint64_t id);

/* ---- KV ---------------------------------------------------------------------------------------------------------- */

/* InternalKVGcsService. Keys, namespaces and values are any bytes; an empty namespace is none. A key that starts with
 * "@namespace_" without a namespace is GCS_INVALID_ARGUMENT: Ray keeps its namespaces there. */

enum { GCS_KV_OVERWRITE = 1, GCS_KV_ALL_NAMESPACES = 2 };

/* GCS_EVENT_KV_GET: the body is the value; GCS_RAY_NOT_FOUND if there is no such key. RPC: InternalKVGet. */
GCS_API gcs_status gcs_kv_get(gcs_client client, gcs_bytes name_space, gcs_bytes key, const gcs_call_options *options,
                              uint64_t *id, gcs_completion_fn fn, void *user, gcs_error **out_error);

/* GCS_EVENT_KV_MULTI_GET: entries of key and value, missing keys absent. Duplicate keys are asked for once. RPC: InternalKVMultiGet. */
GCS_API gcs_status gcs_kv_multi_get(gcs_client client, gcs_bytes name_space, const gcs_bytes *keys, size_t count,
                                    const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                                    gcs_error **out_error);

/* GCS_EVENT_KV_PUT: number 1 if the key is new, else 0. flags: GCS_KV_OVERWRITE, without which an existing value stays.
 * RPC: InternalKVPut. */
GCS_API gcs_status gcs_kv_put(gcs_client client, gcs_bytes name_space, gcs_bytes key, gcs_bytes value, uint32_t flags,
                              const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                              gcs_error **out_error);

/* GCS_EVENT_KV_DELETE: number is how many keys went, 0 or 1. RPC: InternalKVDel. */
GCS_API gcs_status gcs_kv_delete(gcs_client client, gcs_bytes name_space, gcs_bytes key,
                                 const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                                 gcs_error **out_error);

/* GCS_EVENT_KV_DELETE_PREFIX: number is how many keys went. An empty namespace together with an empty prefix means all keys
 * of all namespaces, and needs GCS_KV_ALL_NAMESPACES in flags. RPC: InternalKVDel. */
GCS_API gcs_status gcs_kv_delete_prefix(gcs_client client, gcs_bytes name_space, gcs_bytes prefix, uint32_t flags,
                                        const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                                        gcs_error **out_error);

/* GCS_EVENT_KV_EXISTS: number 0 or 1. RPC: InternalKVExists. */
GCS_API gcs_status gcs_kv_exists(gcs_client client, gcs_bytes name_space, gcs_bytes key,
                                 const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                                 gcs_error **out_error);

/* GCS_EVENT_KV_KEYS: entries of keys. flags as for gcs_kv_delete_prefix(). RPC: InternalKVKeys. */
GCS_API gcs_status gcs_kv_keys(gcs_client client, gcs_bytes name_space, gcs_bytes prefix, uint32_t flags,
                               const gcs_call_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                               gcs_error **out_error);

/* ---- Subscriptions ----------------------------------------------------------------------------------------------- */

/* What the GCS publishes, as a stream of events with one id that survives its restarts, lost connections and everything else
 * but the ends that are named here. In this order: one GCS_EVENT_SUBSCRIBED, when the server has it: what is published from
 * then on arrives; any number of GCS_EVENT_MESSAGE, each once, in the order in which it was published; a GCS_EVENT_RESYNC
 * wherever messages may be missing, after which what was derived from them is read anew; and one GCS_EVENT_SUBSCRIPTION_END.
 *
 * Credit bounds what is outstanding: a message leaves the library while there is credit of both kinds, and takes 1 of the
 * one and its size, key included, of the other, which it may overdraw; a resync takes 1 and 0. Give back what was dealt with by
 * gcs_subscription_credit(): without it the stream stands still when the credit is used up, resyncs included, until its end. What
 * becomes of messages meanwhile is the policy. */

enum {
  GCS_POLICY_WAIT = 0, /* the server keeps the messages, within its own limits (1 GiB of errors, logs or resource usage
                                 each, the oldest dropped without a word); here waits one reply at most. Such a subscription
                                 has a long poll of its own; those with other policies share one for each service */
  GCS_POLICY_DROP_OLDEST =
      1, /* max_messages and max_bytes are kept here; beyond it the oldest are dropped, and counted */
  GCS_POLICY_DROP_NEWEST = 2 /* the same, and the newest are dropped */
};

/* Why messages may be missing: the flags of a GCS_EVENT_RESYNC. Of several reasons the largest. */
enum {
  GCS_RESYNC_DROPPED = 1,     /* here, by the policy, for lack of memory, or as unreadable */
  GCS_RESYNC_RECONNECTED = 2, /* the connection was lost, and the channel tells of changes of a table */
  GCS_RESYNC_TOO_LARGE = 3,   /* a reply with messages was over max_receive_message */
  GCS_RESYNC_EXPIRED = 4,     /* the server was not polled for longer than it keeps messages */
  GCS_RESYNC_RESTARTED = 5    /* the GCS has restarted */
};

typedef struct gcs_subscribe_options {
  size_t struct_size;       /* sizeof(gcs_subscribe_options) */
  int64_t timeout;          /* until GCS_EVENT_SUBSCRIBED; GCS_TIMEOUT_DEFAULT */
  int32_t wait_for_ready;   /* -1: as the client; 0; 1. For the beginning only: a subscription that exists waits */
  int32_t policy;           /* GCS_POLICY_WAIT */
  uint64_t credit_messages; /* what is granted at the beginning; UINT64_MAX: no bound, for ever. 1000 */
  uint64_t credit_bytes;    /* 64 MiB */
  uint64_t max_messages;    /* what a policy that drops keeps beside what is outstanding; 10 000 */
  uint64_t max_bytes;       /* 64 MiB */
  gcs_release_fn drop; /* drop(drop_user, NULL, 0) runs once, after the last event was handed over, where the release
                               of a lent body would; never if the subscription was not accepted. May be NULL */
  void *drop_user;
} gcs_subscribe_options;

GCS_API gcs_status gcs_subscribe_options_init(gcs_subscribe_options *options, size_t struct_size);

/* Subscribes. `channel` is "errors", "logs", "resource_usage", "actors", "jobs", "nodes", "node_liveness" or "workers", or a name out
 * of the server's ChannelType, such as "RAY_ERROR_INFO_CHANNEL". `key`: only messages with this key; empty: all. A key that
 * is an id has the id's length (actors 16 bytes, jobs 4, nodes, node_liveness and workers 28). Ends with GCS_UNSUPPORTED or
 * GCS_INVALID_ARGUMENT, before the server is asked, if it has no such channel; with GCS_CANCELLED by gcs_unsubscribe();
 * GCS_CLOSED with the client; GCS_CLUSTER_CHANGED as calls do; GCS_DEADLINE if the timeout came first; and with the server's
 * own error if it refuses at the beginning, or later for a minute. It counts as a pending call. *id as in gcs_call().
 * RPCs: GcsSubscriberCommandBatch and GcsSubscriberPoll of ControlPlanePubSubGcsService and ObservabilityPubSubService, before Ray 2.56
 * of InternalPubSubGcsService; for what the server is, CheckAlive, GetInternalConfig and ServerReflectionInfo. */
GCS_API gcs_status gcs_subscribe(gcs_client client, const char *channel, gcs_bytes key,
                                 const gcs_subscribe_options *options, uint64_t *id, gcs_completion_fn fn, void *user,
                                 gcs_error **out_error);

/* Grants credit: so many more messages and bytes may be outstanding; UINT64_MAX: no bound from now on. Nothing happens if the
 * subscription has ended, or never was. */
GCS_API gcs_status gcs_subscription_credit(gcs_client client, uint64_t id, uint64_t messages, uint64_t bytes);

/* Ends a subscription: GCS_EVENT_SUBSCRIPTION_END with GCS_CANCELLED follows what has left already. The same as gcs_cancel(). */
GCS_API gcs_status gcs_unsubscribe(gcs_client client, uint64_t id);

/* ---- Events ------------------------------------------------------------------------------------------------------ */

/* Kinds of events, and of packed calls. */
enum {
  GCS_EVENT_CALL = 1,
  GCS_EVENT_KV_GET = 2,
  GCS_EVENT_KV_MULTI_GET = 3,
  GCS_EVENT_KV_PUT = 4,
  GCS_EVENT_KV_DELETE = 5,
  GCS_EVENT_KV_DELETE_PREFIX = 6,
  GCS_EVENT_KV_EXISTS = 7,
  GCS_EVENT_KV_KEYS = 8,
  GCS_EVENT_CONNECT = 16,       /* gcs_client_connect() has ended */
  GCS_EVENT_STATE = 17,         /* number: the client's state; message: why; id: the watch, or of event_fn the client */
  GCS_EVENT_CLIENT_CLOSED = 18, /* the last event of a client; id: the client */
  GCS_EVENT_LOG = 19,           /* number: the level; message: the text */
  GCS_EVENT_RELEASE = 20,       /* a body lent for a queue target is free; id: the call's */
  GCS_EVENT_SUBSCRIBED = 32,    /* the server has the subscription; id: its own, as of the next three */
  GCS_EVENT_MESSAGE = 33,       /* body: the published message, serialized; key; number: its sequence id */
  GCS_EVENT_RESYNC = 34, /* messages may be missing here; flags: GCS_RESYNC_*; number: how many were dropped here;
                                   message: why */
  GCS_EVENT_SUBSCRIPTION_END = 35 /* status, flags, message: why it has ended */
};

GCS_API int32_t gcs_event_kind(const gcs_event *event);
GCS_API uint64_t gcs_event_id(const gcs_event *event);
GCS_API gcs_status gcs_event_status(const gcs_event *event);
/* GCS_FLAG_*; of a GCS_EVENT_RESYNC GCS_RESYNC_* */
GCS_API uint32_t gcs_event_flags(const gcs_event *event);
/* What the kind's comment says; 0 otherwise. */
GCS_API int64_t gcs_event_number(const gcs_event *event);
/* Of a failure that is not GCS_CANCELLED, or of a state, log or resync event: what happened, to what, and what to do; else
 * empty. */
GCS_API const char *gcs_event_message(const gcs_event *event);
/* "/ray.rpc.Service/Method", or empty. */
GCS_API const char *gcs_event_method(const gcs_event *event);
/* Of a failure that is not GCS_CANCELLED, "host:port" of the server that was asked; else empty. */
GCS_API const char *gcs_event_address(const gcs_event *event);
/* grpc-status-details-bin as the server sent it, decoded from base64; empty if there was none. */
GCS_API gcs_bytes gcs_event_details(const gcs_event *event);
/* The reply or the value. Lent; gcs_event_take_body() makes it yours. */
GCS_API gcs_bytes gcs_event_body(const gcs_event *event);
/* GCS_EVENT_MESSAGE: the key that it was published with; else empty. Lent. */
GCS_API gcs_bytes gcs_event_key(const gcs_event *event);
/* GCS_EVENT_KV_KEYS and _KV_MULTI_GET: how many entries there are, and one of them. out_value may be NULL; keys have none.
 * GCS_NOT_FOUND past the end. Entries are lent. Walking forwards costs the same for each entry. */
GCS_API size_t gcs_event_entry_count(const gcs_event *event);
GCS_API gcs_status gcs_event_entry(gcs_event *event, size_t index, gcs_bytes *out_key, gcs_bytes *out_value);
/* Turns the event into the buffer of its body: the event must not be used or freed any more. Never fails; NULL for NULL. */
GCS_API gcs_buffer *gcs_event_take_body(gcs_event *event);
GCS_API void gcs_event_free(gcs_event *event);

/* ---- Buffers ----------------------------------------------------------------------------------------------------- */

GCS_API const void *gcs_buffer_data(const gcs_buffer *buffer);
GCS_API size_t gcs_buffer_size(const gcs_buffer *buffer);
GCS_API void gcs_buffer_free(gcs_buffer *buffer);

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

GCS_API gcs_status gcs_error_status(const gcs_error *error);
GCS_API uint32_t gcs_error_flags(const gcs_error *error);
GCS_API const char *gcs_error_message(const gcs_error *error);
GCS_API void gcs_error_free(gcs_error *error);

/* ---- Completion queue -------------------------------------------------------------------------------------------- */

typedef struct gcs_queue_options {
  size_t struct_size; /* sizeof(gcs_queue_options) */
  gcs_wake_fn wake;   /* NULL: the queue has an fd instead */
  void *wake_user;
} gcs_queue_options;

/* Makes a queue; `options` may be NULL. Free with gcs_queue_close() or _destroy(). */
GCS_API gcs_status gcs_queue_create(const gcs_queue_options *options, gcs_queue *out_queue, gcs_error **out_error);

/* A descriptor that is readable exactly while the queue is non-empty or closed. The queue's: poll it, and neither read nor
 * close it; take it out of your poll set before you close the queue. Always the same, made by the first call: a queue that is
 * only waited for needs none, and is cheaper without. GCS_NOT_FOUND for a queue made with a wake function; GCS_UNAVAILABLE:
 * descriptors have run out (ulimit -n). */
GCS_API gcs_status gcs_queue_fd(gcs_queue queue, int32_t *out_fd);

/* The completion target: `user` is (void *)(uintptr_t)queue. Pushing to a closed queue frees the event. Pass its own address, as
 * the linker or dlsym() gives it: a function of a binding's around it is a callback like any other, whose calls no
 * gcs_queue_close() cancels. */
GCS_API void gcs_queue_push(void *user, gcs_event *event);

/* Takes up to `capacity` events, which are then yours; *out_count may be 0. Never blocks. Lent bodies whose release has come
 * due are released in here; those show as no event. Any number of threads may drain, by this function and the packed one: what
 * one of them is given stands before whatever is given later. */
GCS_API gcs_status gcs_queue_drain(gcs_queue queue, gcs_event **events, size_t capacity, size_t *out_count);

/* Blocks until the queue is non-empty: GCS_OK; GCS_DEADLINE after `timeout`; GCS_INTERRUPTED when a signal handler ran;
 * GCS_CLOSED when the queue is closed meanwhile; GCS_WOULD_DEADLOCK on a library thread. */
GCS_API gcs_status gcs_queue_wait(gcs_queue queue, int64_t timeout);

/* Cancels the calls that would complete here, frees what is queued, and gives the queue up. Never blocks. */
GCS_API gcs_status gcs_queue_close(gcs_queue queue);

/* Closes and waits, `timeout` at most, until nothing uses the queue any more. GCS_WOULD_DEADLOCK on a library thread. */
GCS_API gcs_status gcs_queue_destroy(gcs_queue queue, int64_t timeout);

/* ---- Packed submission and drain --------------------------------------------------------------------------------- */

/* One call for many requests, and one for many events: what an event loop wants. Native byte order; records start at
 * multiples of 8 and are taken in order. */

enum {
  GCS_PACKED_CANCEL = 24 /* kind of a packed call: cancels `id` of `client`; has no completion of its own */
};

enum {
  GCS_PACKED_OVERWRITE = 1,      /* as GCS_KV_OVERWRITE */
  GCS_PACKED_ALL_NAMESPACES = 2, /* as GCS_KV_ALL_NAMESPACES */
  GCS_PACKED_NO_WAIT = 4,        /* wait_for_ready = 0 */
  GCS_PACKED_WAIT = 8,           /* wait_for_ready = 1 */
  GCS_PACKED_RETRY_NEVER = 16,
  GCS_PACKED_RETRY_ALWAYS = 32,
  GCS_PACKED_BODY_POINTER =
      64 /* the body is not in the record but at the address that stands there in 8 bytes; it is read
                                  before the function returns */
};

typedef struct gcs_packed_call {
  uint32_t stride; /* of the record, its bytes and padding included: a multiple of 8 */
  uint16_t kind;   /* GCS_EVENT_CALL, GCS_EVENT_KV_*, GCS_PACKED_CANCEL; another is refused with a GCS_EVENT_CALL */
  uint16_t flags;  /* GCS_PACKED_* */
  gcs_client client;
  uint64_t id;          /* from a reserved block, strictly increasing within the batch (cancels excepted) */
  int64_t timeout;      /* nanoseconds, from `started` on */
  int64_t started;      /* gcs_now() when the call was made; 0: now */
  uint32_t method;      /* GCS_EVENT_CALL: the method, or 0: by path */
  uint32_t name_size;   /* the namespace; GCS_EVENT_CALL: the path */
  uint64_t key_size;    /* the key or the prefix; GCS_EVENT_KV_MULTI_GET: the keys, each as uint32_t size and bytes */
  uint64_t body_size;   /* the value; GCS_EVENT_CALL: the request */
  uint32_t ray_version; /* as in gcs_call_options */
  uint32_t reserved;    /* 0 */
  /* then the bytes: name, key, body, without gaps */
} gcs_packed_call;

/* Submits a batch whose completions go to `queue`. An error return means a malformed envelope (sizes and strides that do not
 * fit), a bad queue, or GCS_LIMIT (100 000 events of refused calls wait in it): nothing was accepted. Otherwise every record gets exactly one
 * event, refused ones included. */
GCS_API gcs_status gcs_call_batch_packed(gcs_queue queue, const void *batch, size_t size);

typedef struct gcs_packed_event {
  uint64_t id;
  int32_t status;
  uint16_t kind;
  uint16_t flags; /* GCS_FLAG_*, GCS_RESYNC_* */
  int64_t number;
  uint64_t offset; /* of the bytes in the arena */
  uint64_t size;
  gcs_buffer *buffer; /* if not NULL the body is not in the arena but in this buffer, which is yours */
} gcs_packed_event;

typedef struct gcs_packed_drain {
  uint64_t count;       /* events written */
  uint64_t arena_used;  /* bytes written */
  uint32_t more;        /* 1: the queue still holds events */
  uint32_t log_waiting; /* 1: gcs_log_drain() would return something */
} gcs_packed_drain;

enum { GCS_PACKED_ARENA_MIN = 65536 };

/* Takes events in packed form. `arena` has at least GCS_PACKED_ARENA_MIN bytes. The bytes of an event are: the body; the entries
 * of GCS_EVENT_KV_KEYS, each as uint32_t size and bytes, and of _KV_MULTI_GET, each as two uint32_t sizes, key and value;
 * of GCS_EVENT_MESSAGE, which stands for a run of messages of one subscription, as many as `number` says: for each two uint32_t,
 * where its key and where its body end, counted from the first of these bytes, and then, without gaps, key and body of each
 * (sequence ids are not told; a message above 16 KiB comes alone, with these bytes in a buffer);
 * of a failure, and of a state, closed, log, resync or
 * end event, method, address and message, each ended by a NUL, and the details; a
 * long message is cut so that they have 16 KiB at most. Bodies and entries above 16 KiB come as a buffer. `timeout` is
 * waited for the first event as gcs_queue_wait() does, with its statuses; 0 does not wait and gives GCS_OK and a count of 0. */
GCS_API gcs_status gcs_queue_drain_packed(gcs_queue queue, int64_t timeout, gcs_packed_event *events, size_t capacity,
                                          void *arena, size_t arena_size, gcs_packed_drain *out_drain);

/* ---- Log --------------------------------------------------------------------------------------------------------- */

enum { GCS_LOG_DEBUG = 10, GCS_LOG_INFO = 20, GCS_LOG_WARNING = 30, GCS_LOG_ERROR = 40, GCS_LOG_OFF = 100 };

/* Records below `level` are not made. The library starts with GCS_LOG_WARNING. */
GCS_API gcs_status gcs_log_set_level(int32_t level);

/* Where records go, as GCS_EVENT_LOG events from the I/O thread; those kept so far first. fn == NULL: the last 256 are kept for
 * gcs_log_drain(). With gcs_queue_push, set another target before you close the queue. */
GCS_API gcs_status gcs_log_set_target(gcs_completion_fn fn, void *user);

/* Takes up to `capacity` of the records that are kept. */
GCS_API gcs_status gcs_log_drain(gcs_event **events, size_t capacity, size_t *out_count);

#ifndef GCS_CDEF
#ifdef __cplusplus
}
#endif
#endif
#undef GCS_API
#endif /* GCS_CAPI_H */
