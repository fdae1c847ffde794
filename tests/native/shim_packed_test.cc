// SPDX-License-Identifier: Apache-2.0
//
// The packed forms, with events and batches made by hand: what is written can be read back, nothing
// is written outside of the arena, and no batch makes the reader look outside of itself.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <protozero/pbf_writer.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "client/call.h"
#include "native/random_seed.h"
#include "shim/lent_body.h"
#include "shim/objects.h"
#include "shim/packed_format.h"

namespace gcs::shim {
namespace {

constexpr std::size_t kArena = GCS_PACKED_ARENA_MIN;
constexpr std::size_t kLimit = EventPacker::kLargestCopied;

std::unique_ptr<Event> make_body(std::uint64_t id, std::string body) {
  auto event = std::make_unique<TextBuffer>(std::move(body));
  event->kind = EventKind::kKvGet;
  event->id = id;
  return event;
}

// A listing or multi-get that has come back with these entries.
std::unique_ptr<Event> make_entries(EventKind kind, const std::vector<std::string>& keys) {
  const bool pairs = kind == EventKind::kKvMultiGet;
  std::string reply;
  protozero::pbf_writer writer(reply);
  for (const std::string& key : keys) {
    std::string entry;
    protozero::pbf_writer entry_writer(entry);
    entry_writer.add_bytes(1, key);
    entry_writer.add_bytes(2, "value of " + key);
    writer.add_bytes(2, pairs ? entry : key);
  }
  auto call =
      Call::make(kind, *find_method(pairs ? method::kInternalKVMultiGet : method::kInternalKVKeys));
  call->response.append({reinterpret_cast<const std::uint8_t*>(reply.data()), reply.size()},
                        reply.size());
  kv::decode(*call);
  return call;
}

class Packing : public testing::Test {
 protected:
  // Packs into `slots` slots and `arena` bytes, which end in a fence.
  EventPacker pack(std::size_t slots, std::size_t arena = kArena) {
    slots_.assign(slots, gcs_packed_event{});
    arena_.assign(arena + kFence, kFenceByte);
    EventPacker packer(slots_, {arena_.data(), arena});
    packer.pack(events_, due_);
    for (std::size_t i = packer.arena_used(); i < arena_.size(); ++i) {
      EXPECT_EQ(arena_[i], kFenceByte) << "written behind what is used, at " << i;
    }
    return packer;
  }

  std::string_view bytes(const gcs_packed_event& slot) const {
    EXPECT_EQ(slot.buffer, nullptr);
    return {reinterpret_cast<const char*>(arena_.data()) + slot.offset, slot.size};
  }

  // The NUL-terminated texts and the rest.
  static std::vector<std::string> texts(std::string_view packed) {
    std::vector<std::string> parts;
    for (int i = 0; i < 3; ++i) {
      const std::size_t end = packed.find('\0');
      EXPECT_NE(end, std::string_view::npos);
      parts.emplace_back(packed.substr(0, end));
      packed.remove_prefix(end + 1);
    }
    parts.emplace_back(packed);
    return parts;
  }

  static constexpr std::size_t kFence = 64;
  static constexpr std::uint8_t kFenceByte = 0xa5;
  EventList events_;
  EventList due_;
  std::vector<gcs_packed_event> slots_;
  std::vector<std::uint8_t> arena_;
};

TEST_F(Packing, BodiesComeOutAsTheyWere) {
  const std::string odd("\0\xff and a NUL\0", 14);
  events_.push_back(make_body(1, ""));
  events_.push_back(make_body(2, odd));
  events_.push_back(make_body(3, std::string(kLimit, 'x')));
  const EventPacker packer = pack(8);
  ASSERT_EQ(packer.count(), 3u);
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(bytes(slots_[0]), "");
  EXPECT_EQ(bytes(slots_[1]), odd);
  EXPECT_EQ(bytes(slots_[2]), std::string(kLimit, 'x'));
  EXPECT_EQ(packer.arena_used(), odd.size() + kLimit);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(slots_[i].id, i + 1);
    EXPECT_EQ(slots_[i].kind, GCS_EVENT_KV_GET);
    EXPECT_EQ(slots_[i].status, GCS_OK);
    EXPECT_EQ(slots_[i].flags, 0);
  }
}

TEST_F(Packing, LargeBodiesAreHandedOverUncopied) {
  auto event = make_body(1, std::string(kLimit + 1, 'y'));
  event->number = -5;
  const void* data = event->body().data();
  events_.push_back(std::move(event));
  const EventPacker packer = pack(1);
  ASSERT_EQ(packer.count(), 1u);
  EXPECT_EQ(packer.arena_used(), 0u);
  EXPECT_EQ(slots_[0].number, -5);
  ASSERT_NE(slots_[0].buffer, nullptr);
  EXPECT_EQ(slots_[0].size, kLimit + 1);
  EXPECT_EQ(gcs_buffer_size(slots_[0].buffer), kLimit + 1);
  EXPECT_EQ(gcs_buffer_data(slots_[0].buffer), data);
  gcs_buffer_free(slots_[0].buffer);
}

TEST_F(Packing, StopsWhenTheSlotsAreUsedUp) {
  for (std::uint64_t id = 1; id <= 5; ++id) events_.push_back(make_body(id, "body"));
  EXPECT_EQ(pack(3).count(), 3u);
  ASSERT_EQ(events_.size(), 2u);
  EXPECT_EQ(events_.front()->id, 4u);
  EXPECT_EQ(pack(3).count(), 2u);
  EXPECT_EQ(slots_[1].id, 5u);
}

TEST_F(Packing, StopsWhenTheArenaIsUsedUp) {
  for (std::uint64_t id = 1; id <= 6; ++id)
    events_.push_back(make_body(id, std::string(kLimit, 'z')));
  EXPECT_EQ(pack(8).count(), kArena / kLimit);
  EXPECT_EQ(events_.size(), 6 - kArena / kLimit);
  // Neither a small arena's last byte more nor less.
  EventList rest;
  std::swap(rest, events_);
  events_.push_back(make_body(1, "0123456789"));
  events_.push_back(make_body(2, "01234"));
  EXPECT_EQ(pack(8, 14).count(), 1u);
  EXPECT_EQ(pack(8, 5).count(), 1u);
}

TEST_F(Packing, EveryKindOfEventFitsIntoAnEmptyArenaOfTheSmallestSize) {
  events_.push_back(make_body(1, std::string(kLimit, 'x')));
  events_.push_back(make_entries(EventKind::kKvKeys, {std::string(kLimit - 4, 'k')}));
  auto failed = std::make_unique<Event>(EventKind::kCall);
  failed->fail(Status::kInternal, 0, std::string(kArena * 2, 'm'), std::string(kArena * 2, 'a'));
  events_.push_back(std::move(failed));
  while (!events_.empty()) EXPECT_EQ(pack(1).count(), 1u);
}

TEST_F(Packing, FailuresCarryTheirTexts) {
  auto call = Call::make(EventKind::kKvGet, *find_method(method::kInternalKVGet));
  call->id = 9;
  call->result.details = std::string("\0details\0", 9);
  call->fail(Status::kDeadline, kFlagLocal | kFlagTimeout, std::string("no\0reply", 8),
             "1.2.3.4:5");
  events_.push_back(std::move(call));
  ASSERT_EQ(pack(1).count(), 1u);
  EXPECT_EQ(slots_[0].status, GCS_DEADLINE);
  EXPECT_EQ(slots_[0].flags, GCS_FLAG_LOCAL | GCS_FLAG_TIMEOUT);
  const auto parts = texts(bytes(slots_[0]));
  EXPECT_EQ(parts[0], "/ray.rpc.InternalKVGcsService/InternalKVGet");
  EXPECT_EQ(parts[1], "1.2.3.4:5");
  EXPECT_EQ(parts[2], "no reply");
  EXPECT_EQ(parts[3], std::string_view("\0details\0", 9));
}

TEST_F(Packing, StateAndLogEventsCarryTheirTextsThoughTheyAreNoFailures) {
  for (const EventKind kind : {EventKind::kState, EventKind::kLog, EventKind::kClientClosed}) {
    auto event = std::make_unique<Event>(kind);
    event->number = 2;
    event->set_text("because", "host:1");
    events_.push_back(std::move(event));
    ASSERT_EQ(pack(1).count(), 1u);
    EXPECT_EQ(slots_[0].status, GCS_OK);
    EXPECT_EQ(slots_[0].number, 2);
    EXPECT_EQ(texts(bytes(slots_[0])), (std::vector<std::string>{"", "host:1", "because", ""}));
  }
}

TEST_F(Packing, LongMessagesAreCutBetweenCharactersAndLeaveTheDetailsWhole) {
  std::string message;
  while (message.size() < kLimit * 2) message += "\xe2\x82\xac";  // three bytes each
  for (std::size_t shift = 0; shift < 3; ++shift) {
    auto call = Call::make(EventKind::kCall, *find_method(method::kCheckAlive));
    call->result.details = "all of it";
    call->fail(Status::kInternal, 0, std::string(shift, 'x') + message, "host:1");
    events_.push_back(std::move(call));
    ASSERT_EQ(pack(1).count(), 1u);
    const auto parts = texts(bytes(slots_[0]));
    EXPECT_LE(slots_[0].size, kLimit);
    EXPECT_GT(slots_[0].size, kLimit - 4);
    EXPECT_EQ((parts[2].size() - shift) % 3, 0u);
    EXPECT_EQ(parts[3], "all of it");
  }
}

TEST_F(Packing, DetailsThatDoNotFitAreLeftOut) {
  auto call = Call::make(EventKind::kCall, *find_method(method::kCheckAlive));
  call->result.details = std::string(kLimit, 'd');
  call->fail(Status::kInternal, 0, "message", "host:1");
  events_.push_back(std::move(call));
  ASSERT_EQ(pack(1).count(), 1u);
  const auto parts = texts(bytes(slots_[0]));
  EXPECT_EQ(parts[2], "message");
  EXPECT_EQ(parts[3], "");
}

// Reads sizes and bytes back.
std::vector<std::string> read_entries(std::string_view packed, bool pairs) {
  std::vector<std::string> out;
  while (!packed.empty()) {
    std::uint32_t sizes[2] = {0, 0};
    const std::size_t head = pairs ? 8 : 4;
    std::memcpy(sizes, packed.data(), head);
    packed.remove_prefix(head);
    for (std::size_t i = 0; i < (pairs ? 2u : 1u); ++i) {
      out.emplace_back(packed.substr(0, sizes[i]));
      packed.remove_prefix(sizes[i]);
    }
  }
  return out;
}

TEST_F(Packing, EntriesComeOutAsTheyWere) {
  const std::vector<std::string> keys{"a", "", std::string("\0b", 2), std::string(300, 'c')};
  events_.push_back(make_entries(EventKind::kKvKeys, keys));
  events_.push_back(make_entries(EventKind::kKvMultiGet, keys));
  events_.push_back(make_entries(EventKind::kKvKeys, {}));
  ASSERT_EQ(pack(3).count(), 3u);
  EXPECT_EQ(read_entries(bytes(slots_[0]), false), keys);
  std::vector<std::string> pairs;
  for (const std::string& key : keys) {
    pairs.push_back(key);
    pairs.push_back("value of " + key);
  }
  EXPECT_EQ(read_entries(bytes(slots_[1]), true), pairs);
  EXPECT_EQ(slots_[1].number, 4);
  EXPECT_EQ(slots_[2].size, 0u);
}

TEST_F(Packing, ManyEntriesComeAsABufferInTheSameForm) {
  std::vector<std::string> keys;
  for (int i = 0; i < 5000; ++i) keys.push_back("key " + std::to_string(i));
  events_.push_back(make_entries(EventKind::kKvKeys, keys));
  ASSERT_EQ(pack(1).count(), 1u);
  ASSERT_NE(slots_[0].buffer, nullptr);
  const std::string_view packed(static_cast<const char*>(gcs_buffer_data(slots_[0].buffer)),
                                gcs_buffer_size(slots_[0].buffer));
  EXPECT_EQ(slots_[0].size, packed.size());
  EXPECT_EQ(read_entries(packed, false), keys);
  gcs_buffer_free(slots_[0].buffer);
}

TEST_F(Packing, EntriesCanBeReadOneByOneInAnyOrder) {
  const std::vector<std::string> keys{"a", "b", "c", "d"};
  gcs_event* event = event_to_c(make_entries(EventKind::kKvMultiGet, keys));
  EXPECT_EQ(gcs_event_entry_count(event), keys.size());
  for (const std::size_t index : {0u, 1u, 2u, 3u, 3u, 1u, 0u, 2u}) {
    gcs_bytes key{};
    gcs_bytes value{};
    ASSERT_EQ(gcs_event_entry(event, index, &key, &value), GCS_OK);
    EXPECT_EQ(std::string_view(static_cast<const char*>(key.data), key.size), keys[index]);
    EXPECT_EQ(std::string(static_cast<const char*>(value.data), value.size),
              "value of " + keys[index]);
  }
  gcs_bytes key{};
  EXPECT_EQ(gcs_event_entry(event, keys.size(), &key, nullptr), GCS_NOT_FOUND);
  EXPECT_EQ(gcs_event_entry(event, SIZE_MAX, &key, nullptr), GCS_NOT_FOUND);
  EXPECT_EQ(gcs_event_entry(event, 0, nullptr, nullptr), GCS_INVALID_ARGUMENT);
  gcs_event_free(event);
}

void must_not_run(void*, const void*, std::size_t) {
  FAIL() << "released by the packer";
}

TEST_F(Packing, LentBodiesTakeNoSlotAndAreNotReleasedByThePacker) {
  const gcs_body body{"x", 1, must_not_run, nullptr};
  events_.push_back(std::make_unique<LentBody>(body));
  events_.push_back(make_body(1, "one"));
  events_.push_back(std::make_unique<LentBody>(body));
  EXPECT_EQ(pack(1).count(), 1u);
  EXPECT_TRUE(events_.empty());
  EXPECT_EQ(due_.size(), 2u);
}

// One record as a caller would write it.
std::vector<std::uint8_t> make_record(std::string_view name, std::string_view key,
                                      std::string_view body, std::uint16_t flags = 0) {
  gcs_packed_call head{};
  const bool by_pointer = (flags & GCS_PACKED_BODY_POINTER) != 0;
  const std::size_t bytes = name.size() + key.size() + (by_pointer ? 8 : body.size());
  head.stride = static_cast<std::uint32_t>((sizeof head + bytes + 7) / 8 * 8);
  head.kind = GCS_EVENT_KV_PUT;
  head.flags = flags;
  head.name_size = static_cast<std::uint32_t>(name.size());
  head.key_size = key.size();
  head.body_size = body.size();
  std::vector<std::uint8_t> record(head.stride);
  std::uint8_t* at = record.data();
  std::memcpy(at, &head, sizeof head);
  at = std::copy(name.begin(), name.end(), at + sizeof head);
  at = std::copy(key.begin(), key.end(), at);
  const char* pointer = body.data();
  if (by_pointer) std::memcpy(at, &pointer, sizeof pointer);
  if (!by_pointer) std::copy(body.begin(), body.end(), at);
  return record;
}

std::string_view as_text(kv::Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(PackedReader, TakesRecordsApartAsTheyWereWritten) {
  const std::string elsewhere(100000, 'b');
  std::vector<std::uint8_t> batch;
  for (const auto& record : {make_record("ns", "key", "value"), make_record("", "", ""),
                             make_record("n", "12345678", elsewhere, GCS_PACKED_BODY_POINTER)}) {
    batch.insert(batch.end(), record.begin(), record.end());
  }
  EXPECT_TRUE(is_well_formed(batch));
  PackedReader reader(batch);
  PackedRecord record;
  ASSERT_EQ(reader.next(&record), PackedReader::Outcome::kRecord);
  EXPECT_EQ(as_text(record.name), "ns");
  EXPECT_EQ(as_text(record.key), "key");
  EXPECT_EQ(as_text(record.body), "value");
  ASSERT_EQ(reader.next(&record), PackedReader::Outcome::kRecord);
  EXPECT_TRUE(record.name.empty() && record.key.empty() && record.body.empty());
  ASSERT_EQ(reader.next(&record), PackedReader::Outcome::kRecord);
  EXPECT_EQ(as_text(record.key), "12345678");
  EXPECT_EQ(as_text(record.body), elsewhere);
  EXPECT_EQ(record.body.data(), static_cast<const void*>(elsewhere.data()));
  EXPECT_EQ(reader.next(&record), PackedReader::Outcome::kEnd);
}

TEST(PackedReader, NeverLooksOutsideOfTheBatch) {
  const std::uint64_t seed = test::random_seed();
  SCOPED_TRACE(test::seed_text(seed));
  std::mt19937_64 random(seed);
  std::vector<std::uint8_t> whole;
  for (int i = 0; i < 3; ++i) {
    const auto record = make_record("name", "the key", "a body");
    whole.insert(whole.end(), record.begin(), record.end());
  }
  const std::uint64_t interesting[] = {0,
                                       1,
                                       7,
                                       8,
                                       64,
                                       0xffffffff,
                                       0xfffffff8,
                                       ~std::uint64_t{0},
                                       ~std::uint64_t{0} - 7,
                                       std::uint64_t{1} << 63};
  int refused = 0;
  for (int round = 0; round < 20000; ++round) {
    // A block of exactly this size, so that a sanitizer sees a read past it.
    auto batch = std::vector<std::uint8_t>(whole.begin(),
                                           whole.end() - (random() % 2 == 0 ? 0 : random() % 80));
    batch.shrink_to_fit();
    for (int change = 0; change < 2; ++change) {
      const std::size_t at = random() % batch.size();
      const std::uint64_t value = interesting[random() % std::size(interesting)];
      std::memcpy(batch.data() + at, &value,
                  std::min<std::size_t>(random() % 9, batch.size() - at));
    }
    if (!is_well_formed(batch)) {
      ++refused;
      continue;
    }
    PackedReader reader(batch);
    PackedRecord record;
    const auto inside = [&batch](kv::Bytes bytes) {
      return bytes.empty() || (bytes.data() >= batch.data() &&
                               bytes.data() + bytes.size() <= batch.data() + batch.size());
    };
    while (reader.next(&record) == PackedReader::Outcome::kRecord) {
      EXPECT_TRUE(inside(record.name));
      EXPECT_TRUE(inside(record.key));
      if ((record.head.flags & GCS_PACKED_BODY_POINTER) == 0) {
        EXPECT_TRUE(inside(record.body));
      }
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(PackedReader, KeysOfAMultiGetAreTakenApartOrRefused) {
  const std::uint8_t good[] = {1, 0, 0, 0, 'a', 0, 0, 0, 0, 2, 0, 0, 0, 'b', 'c'};
  std::vector<kv::Bytes> keys;
  ASSERT_TRUE(read_packed_keys(good, &keys));
  ASSERT_EQ(keys.size(), 3u);
  EXPECT_EQ(as_text(keys[0]), "a");
  EXPECT_EQ(as_text(keys[1]), "");
  EXPECT_EQ(as_text(keys[2]), "bc");
  for (std::size_t size = 1; size < sizeof good; ++size) {
    keys.clear();
    EXPECT_EQ(read_packed_keys({good, size}, &keys), size == 5 || size == 9) << size;
  }
  const std::uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 'a'};
  EXPECT_FALSE(read_packed_keys(huge, &keys));
}

}  // namespace
}  // namespace gcs::shim
