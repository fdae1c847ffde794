// SPDX-License-Identifier: Apache-2.0
//
// Blocks of bytes: shared request bodies, reply buffers and their pool, and the output queue.
#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "random_seed.h"
#include "transport/block_pool.h"
#include "transport/message_buffer.h"
#include "transport/output_queue.h"
#include "transport/shared_bytes.h"

namespace gcs::transport {
namespace {

std::span<const std::uint8_t> as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string text_of(std::span<const std::uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

void count_release(void* user, const std::uint8_t*, std::size_t) noexcept {
  ++*static_cast<std::atomic<int>*>(user);
}

TEST(SharedBytesTest, ACopyIsIndependentOfItsSource) {
  std::string source = "body";
  const SharedBytes bytes = SharedBytes::copy(as_bytes(source));
  source = "gone";
  EXPECT_EQ(text_of(bytes.bytes()), "body");
  EXPECT_TRUE(bytes);
  EXPECT_FALSE(SharedBytes());
  EXPECT_EQ(SharedBytes::copy({}).bytes().size(), 0u);
}

TEST(SharedBytesTest, ALentBlockIsReleasedOnceByTheLastReference) {
  std::atomic<int> released{0};
  const std::string block = "lent";
  SharedBytes first = SharedBytes::adopt(as_bytes(block), count_release, &released);
  EXPECT_EQ(first.bytes().data(), as_bytes(block).data());
  SharedBytes second = first;
  SharedBytes third = std::move(first);
  first = second;
  second = SharedBytes();
  third.reset();
  third.reset();
  EXPECT_EQ(released, 0);
  const SharedBytes& itself = first;
  first = itself;
  EXPECT_EQ(released, 0);
  first.reset();
  EXPECT_EQ(released, 1);
}

TEST(SharedBytesTest, ReferencesDroppedOnManyThreadsReleaseOnce) {
  std::atomic<int> released{0};
  const std::string block = "lent";
  for (int round = 0; round < 100; ++round) {
    SharedBytes shared = SharedBytes::adopt(as_bytes(block), count_release, &released);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) threads.emplace_back([copy = shared]() mutable { copy.reset(); });
    shared.reset();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(released, round + 1);
  }
}

TEST(MessageBufferTest, PiecesOfAnySizeAreKeptInOrder) {
  for (const std::size_t piece : {1u, 7u, 192u, 193u, 16384u, 70000u}) {
    const std::string whole = [] {
      std::string out(300'000, '\0');
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(i * 31 >> 3);
      return out;
    }();
    MessageBuffer buffer;
    for (std::size_t at = 0; at < whole.size(); at += piece) {
      buffer.append(as_bytes(std::string_view(whole).substr(at, piece)), whole.size());
    }
    EXPECT_TRUE(text_of(buffer.bytes()) == whole) << piece;
    MessageBuffer moved = std::move(buffer);
    EXPECT_TRUE(text_of(moved.bytes()) == whole);
    EXPECT_EQ(buffer.size(), 0u);  // NOLINT: a moved-from buffer is empty
    buffer.append(as_bytes("again"), 5);
    EXPECT_EQ(text_of(buffer.bytes()), "again");
    moved = std::move(buffer);
    EXPECT_EQ(text_of(moved.bytes()), "again");
    moved.clear();
    EXPECT_EQ(moved.size(), 0u);
  }
}

TEST(MessageBufferTest, SmallMessagesMoveWithTheirBuffer) {
  MessageBuffer buffer;
  buffer.append(as_bytes("inline"), 6);
  MessageBuffer other = std::move(buffer);
  EXPECT_EQ(text_of(other.bytes()), "inline");
  EXPECT_EQ(buffer.size(), 0u);  // NOLINT
}

TEST(MessageBufferTest, MoreThanAnnouncedIsKeptToo) {
  MessageBuffer buffer;
  buffer.append(as_bytes(std::string(1000, 'a')), 1);
  buffer.append(as_bytes(std::string(100'000, 'b')), 1);
  EXPECT_EQ(text_of(buffer.bytes()), std::string(1000, 'a') + std::string(100'000, 'b'));
}

TEST(BlockPoolTest, LargeBlocksAreUsedAgainAndTheirNumberIsBounded) {
  const std::string megabyte(1 << 20, 'x');
  const std::uint8_t* first = nullptr;
  {
    MessageBuffer buffer;
    buffer.append(as_bytes(megabyte), megabyte.size());
    first = buffer.bytes().data();
  }
  EXPECT_GE(BlockPool::kept_bytes(), megabyte.size());
  {
    MessageBuffer buffer;
    // The first bytes already go to the block that the whole message needs.
    buffer.append(as_bytes(std::string(1000, 'y')), megabyte.size());
    EXPECT_EQ(buffer.bytes().data(), first);
  }
  std::vector<MessageBuffer> many(100);
  for (MessageBuffer& buffer : many) buffer.append(as_bytes(megabyte), megabyte.size());
  many.clear();
  EXPECT_LE(BlockPool::kept_bytes(), BlockPool::kKeptBytes);
  EXPECT_GE(BlockPool::kept_bytes(), BlockPool::kKeptBytes / 2);
}

TEST(BlockPoolTest, BlocksGoBetweenThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 200; ++i) {
        const std::string body(static_cast<std::size_t>(70'000 + i * 1000),
                               static_cast<char>('a' + t));
        MessageBuffer buffer;
        buffer.append(as_bytes(body), body.size());
        ASSERT_TRUE(text_of(buffer.bytes()) == body);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::string first_bytes_of(const OutputQueue& queue, std::size_t pieces) {
  std::vector<iovec> vectors(pieces);
  std::string out;
  const std::size_t count = queue.gather(vectors);
  EXPECT_LE(count, pieces);
  for (std::size_t i = 0; i < count; ++i) {
    out.append(static_cast<const char*>(vectors[i].iov_base), vectors[i].iov_len);
  }
  return out;
}

TEST(OutputQueueTest, BytesLeaveInTheOrderInWhichTheyCame) {
  const std::uint64_t seed = test::random_seed();
  SCOPED_TRACE(test::seed_text(seed));
  std::mt19937_64 random(seed);
  OutputQueue queue;
  std::string expected;
  std::size_t appended = 0;
  for (int step = 0; step < 20'000; ++step) {
    const std::size_t size = random() % 300;
    std::string bytes(size, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    if (random() % 3 == 0) {
      const SharedBytes block = SharedBytes::copy(as_bytes(bytes));
      queue.append_shared(block, block.bytes());
    } else {
      queue.append(as_bytes(bytes));
    }
    expected += bytes;
    appended += size;
    ASSERT_EQ(queue.appended(), appended);
    ASSERT_EQ(queue.size(), expected.size());
    if (random() % 4 == 0) {
      const std::string first = first_bytes_of(queue, 1 + random() % 64);
      ASSERT_EQ(first, expected.substr(0, first.size()));
      const std::size_t accepted = first.empty() ? 0 : random() % (first.size() + 1);
      queue.consume(accepted);
      expected.erase(0, accepted);
    }
  }
  while (!queue.empty()) {
    const std::string first = first_bytes_of(queue, 64);
    ASSERT_EQ(first, expected.substr(0, first.size()));
    queue.consume(first.size());
    expected.erase(0, first.size());
  }
  EXPECT_TRUE(expected.empty());
}

TEST(OutputQueueTest, ABlockIsHeldExactlyWhileBytesOfItAreUnsent) {
  std::atomic<int> released{0};
  const std::string block = "0123456789";
  OutputQueue queue;
  {
    const SharedBytes lent = SharedBytes::adopt(as_bytes(block), count_release, &released);
    queue.append(as_bytes("head"));
    queue.append_shared(lent, lent.bytes().first(5));
    queue.append_shared(lent, lent.bytes().subspan(5));
    queue.append(as_bytes("tail"));
  }
  queue.consume(4 + 9);
  EXPECT_EQ(released, 0);
  queue.consume(1);
  EXPECT_EQ(released, 1);
  EXPECT_EQ(first_bytes_of(queue, 8), "tail");
}

TEST(OutputQueueTest, ClearingReleasesBlocks) {
  std::atomic<int> released{0};
  const std::string block = "0123456789";
  OutputQueue queue;
  {
    const SharedBytes lent = SharedBytes::adopt(as_bytes(block), count_release, &released);
    queue.append_shared(lent, lent.bytes());
  }
  queue.clear();
  EXPECT_EQ(released, 1);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.appended(), block.size());
}

}  // namespace
}  // namespace gcs::transport
