// SPDX-License-Identifier: Apache-2.0
//
// A client of one GCS: calls go in, and each ends exactly once at its sink.
//
// Threads: every function here may be called from any thread. Submissions, cancels and the close
// land in an inbox under one lock, and the I/O thread takes all of it at once: one wake-up for a
// burst. A few calls, while the loop rests, do not wake it: the thread that submits them takes the
// loop's turn and sends them itself. Everything else belongs to that turn (Core). No lock is held
// while an event is delivered, which the I/O thread alone does.
//
// Life: the client keeps itself alive until close() has been carried out in the loop's turn, so
// that dropping the last reference outside never destroys what is in use there. The terminal event
// follows when every call has ended.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "client/call.h"
#include "client/client_options.h"
#include "client/client_status.h"
#include "client/event.h"
#include "client/runtime.h"
#include "client/status.h"
#include "transport/address.h"
#include "transport/event_loop.h"

namespace gcs {

class Core;

class GcsClient final : public std::enable_shared_from_this<GcsClient>, private transport::Task {
  struct Private {};

 public:
  // Null and a refusal when the options cannot be. Throws std::bad_alloc and std::system_error.
  // `event_id` becomes the id of the client's own events. Without a runtime the process's own is
  // used.
  static std::shared_ptr<GcsClient> create(ClientOptions options, std::uint64_t event_id,
                                           Refusal* refusal,
                                           std::shared_ptr<Runtime> runtime = nullptr);
  GcsClient(Private, ClientOptions options, transport::Address address,
            std::shared_ptr<Runtime> runtime);
  GcsClient(const GcsClient&) = delete;
  GcsClient& operator=(const GcsClient&) = delete;
  ~GcsClient();

  // Counts a call as pending, until its event is taken or it is destroyed; a refusal beyond the
  // client's limits, or of a request that would end the GCS. For each call, before it is submitted.
  Refusal admit(Call& call) noexcept;
  // Takes calls, each of which ends at its sink exactly once, on the I/O thread. On a closed client
  // they end with kClosed. A call of kind kConnect is not sent: it ends with kOk as soon as the
  // client is ready, and its default timeout is connect_timeout. Every event in the list is a Call.
  void submit(EventList calls) noexcept;
  // Throws std::bad_alloc.
  void cancel(std::uint64_t id);
  void cancel_calls_of(SinkReference sink);
  // Lets a subscription deliver more; nothing if it has ended. Throws std::bad_alloc.
  void grant(std::uint64_t id, std::uint64_t messages, std::uint64_t bytes);
  // Never blocks, and does nothing the second time. The terminal event follows.
  void close() noexcept;
  // After close(): waits until the terminal event was delivered; false after `timeout` nanoseconds
  // (kTimeoutNone: never).
  bool wait_closed(std::int64_t timeout) noexcept;

  State state() const noexcept { return status_.state(); }
  const std::string& address() const noexcept { return address_text_; }
  std::string cluster_id() const { return status_.cluster_id(); }
  ClientStats stats() const noexcept { return status_.stats(); }
  const ClientStatus& status() const noexcept { return status_; }
  const PendingBudget& pending() const noexcept { return *budget_; }
  const ClientOptions& options() const noexcept { return options_; }
  bool uses_tls() const noexcept { return uses_tls_; }

 private:
  struct Cancel {
    std::uint64_t id;
    std::size_t after;  // how many calls of the inbox came before it
  };
  struct Grant {
    std::uint64_t id;
    std::uint64_t messages;
    std::uint64_t bytes;
  };
  struct Inbox {
    EventList calls;
    std::vector<Cancel> cancels;
    std::vector<SinkReference> sinks;
    std::vector<Grant> grants;
    bool close = false;
  };

  // Delivered behind the client's last event, and says that it was.
  class Epilogue;

  void run() noexcept override;
  // Has the inbox looked at, unless that is under way already. The lock is the inbox's, and is
  // released. `here`: by this thread, if the loop rests.
  void schedule(std::unique_lock<std::mutex> lock, bool here = false) noexcept;
  void run_here() noexcept;
  void refuse_all(EventList calls) noexcept;
  void last_event_delivered() noexcept;

  const ClientOptions options_;
  const transport::Address address_;
  const std::string address_text_;
  const std::shared_ptr<Runtime> runtime_;
  const PendingBudget::Owner budget_;
  bool uses_tls_ = false;
  ClientStatus status_;

  std::mutex mutex_;
  Inbox inbox_;
  bool scheduled_ = false;
  std::shared_ptr<GcsClient>
      alive_;            // until the close was carried out, and as long as a run is scheduled
  bool ended_ = false;   // the close was carried out
  bool closed_ = false;  // the terminal event was delivered
  std::condition_variable was_closed_;
  std::unique_ptr<Event> epilogue_;

  std::unique_ptr<Core> core_;  // the turn's
};

}  // namespace gcs
