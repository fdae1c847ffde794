// SPDX-License-Identifier: Apache-2.0
#include "shim/stats_json.h"

#include <cstdint>
#include <cstdio>
#include <string_view>

#include "client/methods.h"

namespace gcs::shim {
namespace {

// One object or array, written member by member.
class Json {
 public:
  explicit Json(std::string& text, char open, char close) : text_(text), close_(close) {
    text_ += open;
  }
  ~Json() = default;
  Json(const Json&) = delete;
  Json& operator=(const Json&) = delete;

  void name(std::string_view name) {
    next();
    quote(name);
    text_ += ':';
  }
  void number(std::string_view name, std::uint64_t value) {
    this->name(name);
    text_ += std::to_string(value);
  }
  void text(std::string_view name, std::string_view value) {
    this->name(name);
    quote(value);
  }
  void next() {
    if (!first_) text_ += ',';
    first_ = false;
  }
  void end() { text_ += close_; }

 private:
  void quote(std::string_view text) {
    text_ += '"';
    for (const char c : text) {
      if (c == '"' || c == '\\') {
        text_ += '\\';
        text_ += c;
      } else if (static_cast<unsigned char>(c) < 0x20) {
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, "\\u%04x", static_cast<unsigned>(c));
        text_ += escaped;
      } else {
        text_ += c;
      }
    }
    text_ += '"';
  }

  std::string& text_;
  const char close_;
  bool first_ = true;
};

void add_methods(std::string& text, const ClientStatus& status) {
  Json methods(text, '{', '}');
  for (std::uint32_t id = 0; id <= method_count(); ++id) {
    const ClientStatus::MethodCounters& counters = status.method(id);
    const std::uint64_t counts[] = {counters.ok.get(), counters.failed.get(),
                                    counters.cancelled.get(), counters.expired.get(),
                                    counters.sent_again.get()};
    constexpr std::string_view kNames[] = {"ok", "failed", "cancelled", "expired", "sent_again"};
    std::uint64_t sum = 0;
    for (const std::uint64_t count : counts) sum += count;
    if (sum == 0) continue;
    methods.name(id == 0 ? "other" : find_method(id)->path);
    Json one(text, '{', '}');
    for (std::size_t i = 0; i < std::size(counts); ++i) one.number(kNames[i], counts[i]);
    one.end();
  }
  methods.end();
}

void add_latencies(std::string& text, const ClientStatus::Latencies& latencies) {
  Json buckets(text, '[', ']');
  for (std::size_t bucket = 0; bucket < ClientStatus::Latencies::kBuckets; ++bucket) {
    const std::uint64_t count = latencies.count(bucket);
    if (count == 0) continue;
    buckets.next();
    text += '[' + std::to_string(ClientStatus::Latencies::bound(bucket)) + ',' +
            std::to_string(count) + ']';
  }
  buckets.end();
}

}  // namespace

std::string stats_json(const GcsClient& client) {
  const ClientStatus& status = client.status();
  const ClientStats stats = status.stats();
  std::string text;
  Json json(text, '{', '}');
  json.text("state", state_name(stats.state));
  json.number("started", stats.started);
  json.number("completed", stats.completed);
  json.number("failed", stats.failed);
  json.number("pending", stats.pending);
  json.number("waiting", status.waiting.get());
  json.number("in_flight", status.in_flight.get());
  json.number("not_taken", client.pending().calls());
  json.number("pending_bytes", client.pending().bytes());
  json.number("refused", client.pending().refused());
  json.number("sent_again", status.sent_again.get());
  json.number("connects", stats.connects);
  json.number("disconnects", status.disconnects.get());
  json.text("last_disconnect", status.last_disconnect());
  json.text("last_connect_error", status.last_connect_error());
  json.number("bytes_sent", stats.bytes_sent);
  json.number("bytes_received", stats.bytes_received);
  json.name("methods");
  add_methods(text, status);
  json.name("latencies");
  add_latencies(text, status.latencies);
  json.end();
  return text;
}

}  // namespace gcs::shim
