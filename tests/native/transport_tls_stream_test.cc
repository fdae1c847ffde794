// SPDX-License-Identifier: Apache-2.0
//
// TLS over a stream that the test plays by hand: what "delivered" counts, how much is accepted, and
// what is told when.
#include "hand_stream.h"
#include "tls_fixture.h"
#include "transport/http2_connection.h"
#include "transport/tls_stream.h"

namespace gcs::test {
namespace {

struct Owner final : transport::ByteStream::Handler {
  int opened = 0;
  int writable = 0;
  int failed = 0;
  std::vector<std::string> received;
  ConnectionError error;

  void on_open() noexcept override { ++opened; }
  void on_received(std::span<const std::uint8_t> bytes) noexcept override {
    received.emplace_back(bytes.begin(), bytes.end());
  }
  void on_writable() noexcept override { ++writable; }
  void on_failed(const ConnectionError& reason) noexcept override {
    ++failed;
    error = reason;
  }
};

class TlsStreamTest : public TlsTest {
 protected:
  void make(const std::string& host = "127.0.0.1") {
    load();
    stream = std::make_unique<transport::TlsStream>(
        loop, std::make_unique<HandStream>(ends, "http"), options.tls->current(), host);
    peer = std::make_unique<ServerTls>(server);
    stream->open(owner);
  }
  void make_open(const std::string& host = "127.0.0.1") {
    make(host);
    ends.handler->on_open();
    while (owner.opened == 0 && owner.failed == 0) carry();
    ASSERT_EQ(owner.opened, 1) << owner.error.message;
    carry();
    ends.writes = 0;
  }
  // Everything that was written goes to the server, and what it has to say comes back.
  void carry() {
    const std::string bytes = std::exchange(ends.written, {});
    EXPECT_TRUE(peer->take(bytes));
    receive(peer->output());
  }
  void receive(const std::string& bytes) {
    if (!bytes.empty() && ends.handler != nullptr) ends.handler->on_received(as_bytes(bytes));
  }
  std::size_t write(const std::vector<std::string>& texts) {
    std::vector<iovec> pieces;
    for (const std::string& text : texts) {
      pieces.push_back({const_cast<char*>(text.data()), text.size()});
    }
    return stream->write(pieces);
  }

  HandStream::Ends ends;
  Owner owner;
  std::unique_ptr<ServerTls> peer;
  std::unique_ptr<transport::TlsStream> stream;
};

TEST_F(TlsStreamTest, NothingIsAcceptedBeforeTheHandshakeHasEnded) {
  make();
  EXPECT_EQ(write({"early"}), 0u);
  EXPECT_EQ(stream->waiting_for(), "the hand did not move");
  ends.handler->on_open();
  EXPECT_EQ(write({"early"}), 0u);
  EXPECT_EQ(stream->delivered(), 0u);
  EXPECT_EQ(owner.opened, 0);
  EXPECT_EQ(stream->scheme(), "https");
}

TEST_F(TlsStreamTest, TheHandshakeIsNoPlaintext) {
  make_open();
  EXPECT_GT(ends.total, 0u);
  EXPECT_EQ(stream->delivered(), 0u);
}

TEST_F(TlsStreamTest, ADotAtTheEndAndAScopeAreNotPartOfTheName) {
  make_open("localhost.");
  EXPECT_EQ(peer->server_name(), "localhost");
  const Identity local({.subject_names = "IP:fe80::1"}, &authority);
  server.identity = &local;
  owner = Owner();
  make_open("fe80::1%eth0");
  EXPECT_EQ(peer->server_name(), "");
}

TEST_F(TlsStreamTest, ManySmallPiecesAreOneRecordAndOneWrite) {
  make_open();
  const std::uint64_t before = ends.total;
  EXPECT_EQ(write(std::vector<std::string>(64, std::string(100, 'x'))), 6400u);
  EXPECT_EQ(ends.writes, 1);
  EXPECT_LT(ends.total - before, 6400u + 64);
  carry();
  EXPECT_EQ(peer->plaintext, std::string(6400, 'x'));
}

TEST_F(TlsStreamTest, DeliveredIsWhatThePeerCanRead) {
  for (const std::size_t step : {1u, 7u, 1000u, 16384u, 50000u}) {
    ends = HandStream::Ends();
    owner = Owner();
    make_open();
    const std::vector<std::string> texts = {
        "", std::string(9, 'a'),   std::string(16375, 'b'), "c", std::string(40000, 'd'),
        "", std::string(5000, 'e')};
    std::string all;
    for (const std::string& text : texts) all += text;
    ends.room = 0;
    std::size_t accepted = write(texts);
    EXPECT_EQ(stream->delivered(), 0u);
    for (int round = 0; stream->delivered() < all.size(); ++round) {
      ASSERT_LT(round, 200000);
      ends.room = step;
      ends.handler->on_writable();
      ASSERT_TRUE(peer->take(std::exchange(ends.written, {})));
      ASSERT_EQ(stream->delivered(), peer->plaintext.size());
      if (std::exchange(owner.writable, 0) != 0) accepted += write({all.substr(accepted)});
    }
    EXPECT_EQ(accepted, all.size());
    EXPECT_TRUE(peer->plaintext == all);
  }
}

TEST_F(TlsStreamTest, OneByteShortOfARecordProvesThatItNeverArrived) {
  make_open();
  ends.room = std::numeric_limits<std::size_t>::max();
  const std::uint64_t before = ends.total;
  EXPECT_EQ(write({"measure"}), 7u);
  const std::size_t size = ends.total - before;
  EXPECT_EQ(stream->delivered(), 7u);
  ends.room = size - 1;
  EXPECT_EQ(write({"measure"}), 7u);
  EXPECT_EQ(stream->delivered(), 7u);
  ends.room = 1;
  ends.handler->on_writable();
  EXPECT_EQ(stream->delivered(), 14u);
  EXPECT_EQ(owner.writable, 0) << "nothing was refused";
}

TEST_F(TlsStreamTest, ACallWhoseRecordIsOneByteShortNeverRan) {
  for (const std::size_t missing : {0u, 1u}) {
    ends = HandStream::Ends();
    notes = Notes();
    load();
    peer = std::make_unique<ServerTls>(server);
    auto over_tls = std::make_unique<transport::TlsStream>(
        loop, std::make_unique<HandStream>(ends, "http"), options.tls->current(), "127.0.0.1");
    connection = std::make_unique<transport::Http2Connection>(
        loop, std::move(over_tls), transport::Address{"127.0.0.1", 6379}, options, notes);
    ends.handler->on_open();
    while (!peer->shaken() && notes.closed == 0) carry();
    peer->write(frame_bytes(NGHTTP2_SETTINGS, 0, 0, {}));
    carry();
    ASSERT_EQ(notes.ready, 1) << notes.error.message;
    carry();
    TestCall& call = add_call();
    start(call);
    ends.room = 0;
    connection->flush();
    const std::uint64_t begin = ends.total;
    // A record names its length in the fourth and the fifth byte.
    ends.room = 5;
    ends.handler->on_writable();
    ASSERT_EQ(ends.written.size(), 5u);
    const std::size_t length = static_cast<std::uint8_t>(ends.written[3]) * 256u +
                               static_cast<std::uint8_t>(ends.written[4]);
    ends.room = length - missing;
    ends.handler->on_writable();
    ASSERT_EQ(ends.total - begin, 5 + length - missing);
    ends.handler->on_failed({ConnectionError::Kind::kLost, "cut"});
    EXPECT_EQ(call.ended, 1);
    EXPECT_EQ(call.result.fate, missing == 0 ? Fate::kMayHaveRun : Fate::kNeverRan);
    connection.reset();
  }
}

TEST_F(TlsStreamTest, OneBatchAtMostIsAcceptedBeyondWhatIsTaken) {
  make_open();
  ends.room = 0;
  const std::string body(std::size_t{4} << 20, 'x');
  const std::size_t accepted = write({body});
  EXPECT_GT(accepted, 0u);
  EXPECT_LE(accepted, 160u << 10);
  EXPECT_EQ(write({body}), 0u);
  ends.room = 1000;
  ends.handler->on_writable();
  EXPECT_EQ(owner.writable, 0) << "there is no room yet";
  EXPECT_EQ(write({body}), 0u);
  ends.room = std::numeric_limits<std::size_t>::max();
  ends.handler->on_writable();
  EXPECT_EQ(owner.writable, 1);
  EXPECT_EQ(stream->delivered(), accepted);
  EXPECT_EQ(write({body}), body.size());
  EXPECT_EQ(stream->delivered(), accepted + body.size());
}

TEST_F(TlsStreamTest, AllThatCameAtOnceIsHandedOverAtOnce) {
  make_open();
  for (int i = 0; i < 100; ++i) peer->write("record " + std::to_string(i) + ' ');
  receive(peer->output());
  ASSERT_EQ(owner.received.size(), 1u);
  EXPECT_EQ(owner.received[0].substr(0, 18), "record 0 record 1 ");
}

TEST_F(TlsStreamTest, RecordsMayComeByteByByte) {
  make();
  ends.handler->on_open();
  std::string got;
  for (int turn = 0; turn < 10; ++turn) {
    ASSERT_TRUE(peer->take(std::exchange(ends.written, {})));
    if (turn == 5) peer->write("plaintext");
    for (const char byte : peer->output()) receive(std::string(1, byte));
  }
  EXPECT_EQ(owner.opened, 1);
  for (const std::string& part : owner.received) got += part;
  EXPECT_EQ(got, "plaintext");
}

TEST_F(TlsStreamTest, APauseIsPassedOn) {
  make_open();
  stream->pause_reading(123);
  EXPECT_EQ(ends.longest_pause, 123);
}

TEST_F(TlsStreamTest, KeysMayBeRenewedOnTheWay) {
  make_open();
  ASSERT_EQ(SSL_key_update(peer->session(), SSL_KEY_UPDATE_REQUESTED), 1);
  peer->write("after the new key");
  receive(peer->output());
  EXPECT_EQ(write({"with a new key"}), 14u);
  carry();
  EXPECT_EQ(peer->plaintext, "with a new key");
  EXPECT_EQ(stream->delivered(), 14u);
}

TEST_F(TlsStreamTest, APeerThatMakesUsAnswerAndReadsNothingIsGivenUp) {
  make_open();
  ends.room = 0;
  for (int i = 0; i < 40000 && owner.failed == 0; ++i) {
    SSL_key_update(peer->session(), SSL_KEY_UPDATE_REQUESTED);
    peer->write("x");
    receive(peer->output());
  }
  EXPECT_EQ(owner.failed, 1);
  EXPECT_EQ(owner.error.kind, ConnectionError::Kind::kLost);
  EXPECT_TRUE(says(owner.error, "does not read them")) << owner.error.message;
}

TEST_F(TlsStreamTest, NothingIsToldAfterAFailure) {
  make_open();
  transport::ByteStream::Handler& below = *ends.handler;
  below.on_failed({ConnectionError::Kind::kLost, "cut"});
  below.on_failed({ConnectionError::Kind::kLost, "again"});
  below.on_writable();
  peer->write("late");
  receive(peer->output());
  EXPECT_EQ(owner.failed, 1);
  EXPECT_EQ(owner.received.size(), 0u);
  EXPECT_EQ(write({"late"}), 0u);
}

}  // namespace
}  // namespace gcs::test
