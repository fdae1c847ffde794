// SPDX-License-Identifier: Apache-2.0
//
// What a client has to know of the server at hand before it subscribes: its release of Ray, how it
// lays out pub/sub, and for how long it keeps a subscriber that does not poll.
//
// Invariants:
// - All of it is asked anew for each connection: what answers there may be another server.
// - The layout is what the server's own descriptors say, or else what is known of its release.
//
// Threads: whoever has the loop's turn.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "client/pubsub_layout.h"
#include "client/subscription_host.h"

namespace gcs {

class PubsubServer final : private Asker {
 public:
  // Must not ask again, or have it forgotten, before the function has returned.
  class Owner {
   public:
    virtual void server_known() noexcept = 0;
    virtual void server_failed(Status status, std::uint32_t flags,
                               std::string_view message) noexcept = 0;

   protected:
    ~Owner() = default;
  };

  PubsubServer(SubscriptionHost& host, Owner& owner) noexcept : host_(host), owner_(owner) {}
  PubsubServer(const PubsubServer&) = delete;
  PubsubServer& operator=(const PubsubServer&) = delete;
  ~PubsubServer() { forget(); }

  // Forgets what it knew, but for the timeout, which holds until there is another.
  void forget() noexcept;
  // Asks, unless it does already, or knows.
  void ask() noexcept;
  bool asks() const noexcept { return open_ > 0; }
  // nullptr: not known.
  const std::shared_ptr<const PubsubLayout>& layout() const noexcept { return layout_; }
  // 0: the server does not say.
  std::uint32_t ray_version() const noexcept { return ray_version_; }
  const std::string& ray_version_text() const noexcept { return ray_version_text_; }
  std::int64_t subscriber_timeout() const noexcept { return subscriber_timeout_; }
  // A poll was answered with nothing after so long, which is once to twice the server's time: it is
  // taken to be the shortest of what it may be.
  void note_empty_poll(std::int64_t after) noexcept;

 private:
  static constexpr std::int64_t kDefaultSubscriberTimeout = 300'000'000'000;

  enum Question : std::size_t { kVersion, kServices, kFiles, kQuestions };

  void answered(std::unique_ptr<Call> answer) noexcept override;
  void conclude();
  void ask_config(std::uint32_t method);
  void read_config(const Call& answer) noexcept;
  std::unique_ptr<Call> question(std::uint32_t method, std::string_view request);

  SubscriptionHost& host_;
  Owner& owner_;
  std::array<std::uint64_t, kQuestions> ids_{};
  std::array<std::unique_ptr<Call>, kQuestions> answers_;
  std::size_t open_ = 0;
  std::uint64_t config_id_ = 0;
  std::shared_ptr<const PubsubLayout> layout_;
  std::uint32_t ray_version_ = 0;
  std::string ray_version_text_;
  std::int64_t subscriber_timeout_ = kDefaultSubscriberTimeout;
};

}  // namespace gcs
