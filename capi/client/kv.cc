// SPDX-License-Identifier: Apache-2.0
#include "client/kv.h"

#include <protozero/basic_pbf_writer.hpp>
#include <protozero/buffer_fixed.hpp>
#include <protozero/varint.hpp>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "client/reply.h"
#include "client/status_reader.h"

namespace gcs::kv {
namespace {

// Field numbers of the requests and replies; the key (or prefix, or keys) is always 1.
constexpr std::uint32_t kKey = 1;
constexpr std::uint32_t kNamespace = 2;
constexpr std::uint32_t kPutValue = 2;
constexpr std::uint32_t kPutOverwrite = 3;
constexpr std::uint32_t kPutNamespace = 4;
constexpr std::uint32_t kDeleteByPrefix = 3;
constexpr std::uint32_t kReplyStatus = 1;
constexpr std::uint32_t kReplyResult = 2;
constexpr std::uint32_t kEntryKey = 1;
constexpr std::uint32_t kEntryValue = 2;

constexpr std::string_view kNamespaceStem = "@namespace_";

using Writer = protozero::basic_pbf_writer<protozero::fixed_size_buffer_adaptor>;

std::string_view text(Bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::size_t field_size(Bytes bytes) noexcept {
  return bytes.empty() ? 0
                       : 1 + static_cast<std::size_t>(protozero::length_of_varint(bytes.size())) +
                             bytes.size();
}

void add(Writer& writer, std::uint32_t field, Bytes bytes) {
  if (!bytes.empty()) {
    writer.add_bytes(
        field, protozero::data_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
}

Made refuse(std::string message) {
  return {nullptr, {Status::kInvalidArgument, kFlagLocal, std::move(message)}};
}

bool reaches_into_namespaces(Bytes name_space, Bytes key) noexcept {
  return name_space.empty() && text(key).starts_with(kNamespaceStem);
}

Made refuse_reserved_key() {
  return refuse(
      "a key that starts with \"@namespace_\" and has no namespace would reach into Ray's "
      "namespaces; pass the namespace");
}

std::unique_ptr<Call> make(EventKind kind, std::uint32_t id) {
  return Call::make(kind, *find_method(id));
}

// The shape that most requests have: the key, the namespace, and perhaps a flag.
Made key_request(EventKind kind, std::uint32_t id, Bytes name_space, Bytes key,
                 std::uint32_t flag = 0) {
  if (reaches_into_namespaces(name_space, key)) return refuse_reserved_key();
  Made made{make(kind, id), {}};
  const std::size_t size = field_size(key) + field_size(name_space) + (flag != 0 ? 2 : 0);
  protozero::fixed_size_buffer_adaptor buffer(
      reinterpret_cast<char*>(made.call->allocate_request(size)), size);
  Writer writer(buffer);
  add(writer, kKey, key);
  add(writer, kNamespace, name_space);
  if (flag != 0) writer.add_bool(flag, true);
  return made;
}

Made prefix_request(EventKind kind, std::uint32_t id, Bytes name_space, Bytes prefix,
                    bool all_namespaces, std::uint32_t flag) {
  // Ray keeps the key "k" of a namespace "n" as "@namespace_n:k".
  if (name_space.empty() && !all_namespaces && kNamespaceStem.starts_with(text(prefix))) {
    return refuse(prefix.empty()
                      ? "an empty prefix without a namespace means the keys of all namespaces, "
                        "Ray's own included; "
                        "pass a namespace or a prefix, or ask for all namespaces explicitly"
                      : "a prefix that \"@namespace_\" begins with, without a namespace, means the "
                        "keys of all namespaces, Ray's own "
                        "included; pass a namespace or a longer prefix, or ask for all namespaces "
                        "explicitly");
  }
  return key_request(kind, id, name_space, prefix, flag);
}

// Reads one entry of a key-value reply.
void read_entry(protozero::data_view bytes, Bytes* key, Bytes* value) {
  *key = *value = {};
  protozero::pbf_reader reader{bytes};
  while (reader.next()) {
    const bool is_bytes = reader.wire_type() == protozero::pbf_wire_type::length_delimited;
    if (is_bytes && (reader.tag() == kEntryKey || reader.tag() == kEntryValue)) {
      Bytes* into = reader.tag() == kEntryKey ? key : value;
      const protozero::data_view view = reader.get_view();
      *into = {reinterpret_cast<const std::uint8_t*>(view.data()), view.size()};
    } else {
      reader.skip();
    }
  }
}

struct Result {
  GcsStatus status;
  Bytes bytes;
  std::int64_t number = 0;
};

Result read(Call& call) {
  Result result;
  const bool counts_entries =
      call.kind == EventKind::kKvKeys || call.kind == EventKind::kKvMultiGet;
  protozero::pbf_reader reader = reader_of(call.response.bytes());
  while (reader.next()) {
    const bool is_bytes = reader.wire_type() == protozero::pbf_wire_type::length_delimited;
    if (reader.tag() == kReplyStatus && is_bytes) {
      result.status = read_gcs_status(reader.get_view());
    } else if (reader.tag() == kReplyResult && is_bytes) {
      const protozero::data_view view = reader.get_view();
      if (counts_entries) {
        Bytes key, value;
        if (call.kind == EventKind::kKvMultiGet) read_entry(view, &key, &value);
        ++result.number;
      } else {
        result.bytes = {reinterpret_cast<const std::uint8_t*>(view.data()), view.size()};
      }
    } else if (reader.tag() == kReplyResult &&
               reader.wire_type() == protozero::pbf_wire_type::varint && !counts_entries) {
      result.number = reader.get_int64();
    } else {
      reader.skip();
    }
  }
  if (counts_entries) result.bytes = call.response.bytes();
  return result;
}

// A key that is not there is no failure of these.
bool missing_is_empty(EventKind kind) noexcept {
  return kind != EventKind::kKvGet && kind != EventKind::kKvPut;
}

}  // namespace

Made get(Bytes name_space, Bytes key) {
  return key_request(EventKind::kKvGet, method::kInternalKVGet, name_space, key);
}

Made multi_get(Bytes name_space, std::span<const Bytes> keys) {
  std::unordered_set<std::string_view> seen;
  std::vector<Bytes> distinct;
  seen.reserve(keys.size());
  distinct.reserve(keys.size());
  std::size_t size = field_size(name_space);
  for (const Bytes key : keys) {
    if (reaches_into_namespaces(name_space, key)) return refuse_reserved_key();
    if (!seen.insert(text(key)).second) continue;
    distinct.push_back(key);
    // An empty key is a key, too: unlike an empty namespace it must be written.
    size += key.empty() ? 2 : field_size(key);
  }
  Made made{make(EventKind::kKvMultiGet, method::kInternalKVMultiGet), {}};
  protozero::fixed_size_buffer_adaptor buffer(
      reinterpret_cast<char*>(made.call->allocate_request(size)), size);
  Writer writer(buffer);
  for (const Bytes key : distinct) {
    writer.add_bytes(kKey,
                     protozero::data_view(reinterpret_cast<const char*>(key.data()), key.size()));
  }
  add(writer, kNamespace, name_space);
  return made;
}

Made put(Bytes name_space, Bytes key, Bytes value, bool overwrite) {
  if (reaches_into_namespaces(name_space, key)) return refuse_reserved_key();
  Made made{make(EventKind::kKvPut, method::kInternalKVPut), {}};
  const std::size_t size =
      field_size(key) + field_size(value) + field_size(name_space) + (overwrite ? 2 : 0);
  protozero::fixed_size_buffer_adaptor buffer(
      reinterpret_cast<char*>(made.call->allocate_request(size)), size);
  Writer writer(buffer);
  add(writer, kKey, key);
  add(writer, kPutValue, value);
  if (overwrite) writer.add_bool(kPutOverwrite, true);
  add(writer, kPutNamespace, name_space);
  return made;
}

Made delete_key(Bytes name_space, Bytes key) {
  return key_request(EventKind::kKvDelete, method::kInternalKVDel, name_space, key);
}

Made delete_prefix(Bytes name_space, Bytes prefix, bool all_namespaces) {
  return prefix_request(EventKind::kKvDeletePrefix, method::kInternalKVDel, name_space, prefix,
                        all_namespaces, kDeleteByPrefix);
}

Made exists(Bytes name_space, Bytes key) {
  return key_request(EventKind::kKvExists, method::kInternalKVExists, name_space, key);
}

Made keys(Bytes name_space, Bytes prefix, bool all_namespaces) {
  return prefix_request(EventKind::kKvKeys, method::kInternalKVKeys, name_space, prefix,
                        all_namespaces, 0);
}

void decode(Call& call) noexcept {
  try {
    Result result = read(call);
    if (result.status.code == kRayNotFound && missing_is_empty(call.kind)) {
      result = Result{};
    } else if (result.status.code != 0) {
      call.status = ray_status(result.status.code);
      call.set_text(result.status.message, {});
      return;
    }
    call.number = result.number;
    call.set_body(result.bytes);
  } catch (const std::exception&) {
    call.status = Status::kInternal;
    call.flags = kFlagLocal | kFlagMaybeExecuted;
    call.set_text("the reply is not the protobuf message expected", {});
  }
}

bool Entries::next(Bytes* key, Bytes* value) noexcept {
  try {
    protozero::pbf_reader reader = reader_of(rest_);
    while (reader.next()) {
      if (reader.tag() == kReplyResult &&
          reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
        const protozero::data_view view = reader.get_view();
        if (pairs_) {
          read_entry(view, key, value);
        } else {
          *key = {reinterpret_cast<const std::uint8_t*>(view.data()), view.size()};
          *value = {};
        }
        const auto* after = reinterpret_cast<const std::uint8_t*>(reader.data().data());
        rest_ = rest_.subspan(static_cast<std::size_t>(after - rest_.data()));
        return true;
      }
      reader.skip();
    }
  } catch (const std::exception&) {
    // decode() has read every entry, so that this is reached only by an event whose status is a
    // failure.
  }
  rest_ = {};
  return false;
}

}  // namespace gcs::kv
