// SPDX-License-Identifier: Apache-2.0
#include "gcs_peer.h"

#include <cstdio>
#include <filesystem>
#include <iterator>
#include <protozero/pbf_reader.hpp>
#include <string_view>

#include "client_fixture.h"

namespace gcs::test {
namespace {

std::string key_in(const std::string& message) {
  protozero::pbf_reader reader(message);
  while (reader.next()) {
    if (reader.tag() == 1) return reader.get_string();
    reader.skip();
  }
  return {};
}

}  // namespace

GcsPeer::GcsPeer(const ServerTls::Options* tls)
    : tls_(tls), peer_([this](PeerConnection& self) { serve(self); }) {}

void GcsPeer::serve(PeerConnection& self) {
  if (tls_ != nullptr && !self.serve_tls(*tls_)) return;
  if (!self.greet()) return;
  while (const auto request = self.next_request()) {
    const std::string path = request->header(":path");
    std::string reply = number_reply(1);
    if (path == kGetClusterIdPath) {
      reply = identity_reply(kClusterA);
    } else if (path == kCheckAlivePath) {
      reply = alive_reply(kRayVersion);
    } else if (path.ends_with("InternalKVGet")) {
      const std::string key = key_in(request->message());
      if (key == "hold") continue;
      if (key == "drop" && !has_dropped_.exchange(true)) {
        self.reset();
        return;
      }
      if (key == "end" && !has_ended_.exchange(true)) return;
      if (key == "absent") {
        reply = status_reply(17, "a text that is longer than what a string holds in place");
      } else {
        reply = value_reply(key == "large" ? std::string(kLargeValue, 'v') : "value");
      }
    }
    if (!self.reply(request->stream, reply)) return;
  }
}

void Ending::receive(void* user, gcs_event* event) {
  Ending& self = *static_cast<Ending*>(user);
  {
    const std::lock_guard lock(self.mutex_);
    ++self.count_;
    self.status_ = gcs_event_status(event);
    self.flags_ = gcs_event_flags(event);
    self.size_ = gcs_event_body(event).size;
    std::snprintf(self.message_, sizeof self.message_, "%s", gcs_event_message(event));
    self.came_.notify_all();
  }
  gcs_event_free(event);
}

bool Ending::wait(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return came_.wait_for(lock, patience, [this] { return count_ > 0; });
}

int Ending::count() {
  const std::lock_guard lock(mutex_);
  return count_;
}

gcs_status Ending::status() {
  const std::lock_guard lock(mutex_);
  return status_;
}

std::uint32_t Ending::flags() {
  const std::lock_guard lock(mutex_);
  return flags_;
}

std::size_t Ending::size() {
  const std::lock_guard lock(mutex_);
  return size_;
}

std::string Ending::message() {
  const std::lock_guard lock(mutex_);
  return message_;
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator open("/proc/self/fd");
  // That of the walk itself is among them, every time.
  return static_cast<std::size_t>(std::distance(begin(open), end(open)));
}

}  // namespace gcs::test
