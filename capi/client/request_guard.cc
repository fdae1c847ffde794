// SPDX-License-Identifier: Apache-2.0
#include "client/request_guard.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "client/message_reader.h"
#include "client/request_rules.h"
#include "client/text.h"

namespace gcs {
namespace {

using Bytes = std::span<const std::uint8_t>;

// What raylets alone say to a GCS, as a stream: one message of it without the rest ends it.
constexpr std::string_view kSyncer = "/ray.rpc.syncer.RaySyncer/";

// Where in the request a message is.
struct Place {
  const Place* around;
  std::string_view name;
};

std::string path_to(const Place* place, std::string_view field) noexcept {
  std::string path = join({field});
  for (; place != nullptr; place = place->around) path = join({place->name, ".", path});
  return path;
}

class Judge {
 public:
  explicit Judge(std::uint32_t ray_version) : ray_version_(ray_version) {}

  // False: the message breaks a rule.
  bool accepts(Bytes message, std::span<const Field> fields, const Place* place) noexcept {
    std::uint64_t seen = 0;
    MessageReader reader(message);
    while (reader.next()) {
      for (std::size_t i = 0; i < fields.size(); ++i) {
        const Field& field = fields[i];
        if (field.number != reader.field() || !field.releases.include(ray_version_)) continue;
        if (!has_wire_type(field, reader)) continue;
        seen |= std::uint64_t{1} << i;
        if (!accepts(field, reader, place)) return false;
      }
    }
    // The server refuses the whole, or, if to it these bytes are an id, has judged it above.
    if (!reader.intact()) return true;
    for (std::size_t i = 0; i < fields.size(); ++i) {
      const Field& field = fields[i];
      if (!field.required || !field.releases.include(ray_version_)) continue;
      if ((seen >> i & 1) == 0) return refuse_absent(field, place);
    }
    return true;
  }

  Refusal take_refusal() noexcept {
    return {Status::kInvalidArgument, kFlagLocal, std::move(text_)};
  }

 private:
  static bool has_wire_type(const Field& field, const MessageReader& reader) noexcept {
    return reader.wire() == (field.rule == Rule::kNumber ? MessageReader::Wire::kVarint
                                                         : MessageReader::Wire::kBytes);
  }

  bool accepts(const Field& field, const MessageReader& reader, const Place* place) noexcept {
    switch (field.rule) {
      case Rule::kMessage: {
        const Place inside{place, field.name};
        return accepts(reader.bytes(), field.fields, &inside);
      }
      case Rule::kId: {
        const std::size_t size = reader.bytes().size();
        if (size == field.low || (size == 0 && !field.required)) return true;
        return refuse(field, place,
                      {" has ", Digits(size), size == 1 ? " byte; " : " bytes; ", field.type,
                       " has ", Digits(field.low), field.required ? "" : " (or 0 for none)"});
      }
      case Rule::kName: {
        const Bytes name = reader.bytes();
        if (name.empty()) return refuse(field, place, {" is empty; it must be a name"});
        if (name.size() > field.high) {
          return refuse(
              field, place,
              {" has ", Digits(name.size()), " bytes; at most it has ", Digits(field.high)});
        }
        if (std::ranges::all_of(name, [](std::uint8_t byte) { return byte >= ' '; })) return true;
        return refuse(field, place, {" has a control character; it must be a name"});
      }
      case Rule::kNumber: {
        const std::int64_t number = reader.number();
        if (number >= field.low && (number <= field.high || field.high == kNoLimit)) return true;
        return refuse_number(field, place, number);
      }
    }
    return true;
  }

  bool refuse_absent(const Field& field, const Place* place) noexcept {
    switch (field.rule) {
      case Rule::kMessage:
        return refuse(field, place, {" is missing; it must be there"});
      case Rule::kId:
        return refuse(field, place,
                      {" is missing; it must be there, and ", field.type, " has ",
                       Digits(field.low), " bytes"});
      case Rule::kName:
        return refuse(field, place, {" is empty; it must be a name"});
      case Rule::kNumber:
        return refuse_number(field, place, 0);
    }
    return true;
  }

  bool refuse_number(const Field& field, const Place* place, std::int64_t number) noexcept {
    const bool negative = number < 0;
    const std::uint64_t size =
        negative ? 0 - static_cast<std::uint64_t>(number) : static_cast<std::uint64_t>(number);
    const std::string_view sign = negative ? "-" : "";
    if (field.low == field.high) {
      return refuse(field, place, {" is ", sign, Digits(size), "; it must be ", Digits(field.low)});
    }
    if (field.high == kNoLimit) {
      return refuse(field, place,
                    {" is ", sign, Digits(size), "; it must be at least ", Digits(field.low)});
    }
    return refuse(field, place,
                  {" is ", sign, Digits(size), "; it must be from ", Digits(field.low), " to ",
                   Digits(field.high)});
  }

  bool refuse(const Field& field, const Place* place,
              std::initializer_list<std::string_view> problem) noexcept {
    const bool other_release_may_do = ray_version_ == 0 && !field.releases.all();
    text_ = join(
        {path_to(place, field.name), join(problem),
         ". Such a request would end the GCS, or a raylet, so it was not sent",
         other_release_may_do ? "; another release may take it: say which one the server is" : ""});
    return false;
  }

  std::uint32_t ray_version_;
  std::string text_;
};

}  // namespace

Refusal guard_request(const Call& call) noexcept {
  if (call.known == nullptr) {
    if (!call.method().starts_with(kSyncer)) return {};
    return {Status::kInvalidArgument, kFlagLocal,
            join({call.method(),
                  " is for raylets. Such a request would end the GCS, so it was not "
                  "sent"})};
  }
  const std::uint32_t method = call.known->id;
  const std::span<const Field> rules = request_rules(method);
  if (!rules.empty()) {
    Judge judge(call.ray_version);
    if (!judge.accepts(call.message, rules, nullptr)) return judge.take_refusal();
  }
  return guard_pubsub(method, call.message, call.ray_version);
}

}  // namespace gcs
