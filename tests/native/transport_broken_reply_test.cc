// SPDX-License-Identifier: Apache-2.0
//
// Replies that cannot be read or cost too much: each fails its own call, and the next call on the
// same connection is fine.
#include <malloc.h>

#include "transport_fixture.h"

namespace gcs::test {
namespace {
class BrokenReplyTest : public ReplyTest {};

TEST_F(BrokenReplyTest, ACompressedMessageIsRefusedAndTheEncodingNamed) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(
        stream,
        {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-encoding", "gzip"}},
        false);
    peer.send_data(stream, grpc_message("zzz", 1), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "compressed with 'gzip'");
}

TEST_F(BrokenReplyTest, ACompressedMessageWithoutAnEncodingIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("zzz", 1), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "compressed");
}

TEST_F(BrokenReplyTest, TheIdentityEncodingIsFine) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(
        stream,
        {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-encoding", "identity"}},
        false);
    peer.send_data(stream, grpc_message("fine"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
}

TEST_F(BrokenReplyTest, AnErrorOfAServerThatNamesAnEncodingKeepsItsStatus) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream,
                      {{":status", "200"},
                       {"content-type", "application/grpc"},
                       {"grpc-encoding", "gzip"},
                       {"grpc-status", "5"},
                       {"grpc-message", "gone"}},
                      true);
  });
  expect(call, StatusCode::kNotFound, Origin::kServer, "gone");
}

TEST_F(BrokenReplyTest, AnUnknownCompressionFlagIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("zzz", 9), true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "begins with 9");
}

TEST_F(BrokenReplyTest, AMessageShorterThanItsPrefixIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("0123456789").substr(0, 12), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "7 bytes of a message of 10");
}

TEST_F(BrokenReplyTest, TwoMessagesAreRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("one") + grpc_message("two"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "more than one message");
}

TEST_F(BrokenReplyTest, OkWithoutAMessageIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "sent no message");
}

TEST_F(BrokenReplyTest, TrailersThatDoNotEndTheStreamFailTheirCallAlone) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("one"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, false);
    peer.send_data(stream, "after the trailers", true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "HTTP/2");
}

TEST_F(BrokenReplyTest, DataAfterTheEndOfAStreamIsIgnored) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "fine");
    peer.send_data(stream, "after the end", false);
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "fine");
}

TEST_F(BrokenReplyTest, AMessageInManyPiecesIsPutTogether) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    for (const char c : grpc_message("byte by byte")) {
      peer.send_data(stream, std::string_view(&c, 1), false);
      peer.send_data(stream, "", false);
    }
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "byte by byte");
}

TEST_F(BrokenReplyTest, AMessageOverTheLimitIsRefusedOnItsPrefix) {
  options.max_receive_message = 1000;
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message(std::string(1001, 'x')), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kResourceExhausted, Origin::kLocal,
         "1001 bytes, over the limit of 1000");
}

TEST_F(BrokenReplyTest, AMessageAtTheLimitIsFine) {
  options.max_receive_message = 1000;
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, std::string(1000, 'x'));
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
}

TEST_F(BrokenReplyTest, AnAnnouncedLengthAllocatesNothing) {
  std::size_t in_use = 0;
  notes.when_ready = [&] { in_use = mallinfo2().uordblks + mallinfo2().hblkhd; };
  std::atomic<bool> sent{false};
  ScriptedPeer peer([&](PeerConnection& self) {
    if (!self.greet()) return;
    const auto request = self.next_request();
    if (!request) return;
    self.send_headers(request->stream, kOkHeaders, false);
    self.send_data(request->stream, std::string("\0\x1f\xff\xff\xff", 5) + "x", false);
    sent = true;
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call());
  connection->flush();
  ASSERT_TRUE(run_until([&] { return calls[0].response.size() == 1; }));
  EXPECT_LT(mallinfo2().uordblks + mallinfo2().hblkhd, in_use + (std::size_t{4} << 20));
}

TEST_F(BrokenReplyTest, HeadersOverTheLimitAreRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    Fields trailers{{"grpc-status", "0"}};
    for (int i = 0; i < 100; ++i)
      trailers.emplace_back("x-" + std::to_string(i), std::string(100, 'y'));
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("x"), false);
    peer.send_headers(stream, trailers, true);
  });
  EXPECT_TRUE(call.ok()) << call.result.message;

  notes = Notes();
  calls.clear();
  options.max_header_bytes = 8000;
  const TestCall& refused = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    Fields trailers{{"grpc-status", "0"}};
    for (int i = 0; i < 100; ++i)
      trailers.emplace_back("x-" + std::to_string(i), std::string(100, 'y'));
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("x"), false);
    peer.send_headers(stream, trailers, true);
  });
  expect(refused, StatusCode::kResourceExhausted, Origin::kLocal, "more than 8000 bytes");
}

TEST_F(BrokenReplyTest, AHeaderBombCostsNoMemory) {
  // One large header enters HPACK's table, and a byte each repeats it: 4 KB x 16000 = 64 MB from 20
  // KB.
  struct mallinfo2 before {};
  std::size_t most = 0;
  notes.when_ready = [&] { before = mallinfo2(); };
  notes.when_ended = [&] {
    const struct mallinfo2 now = mallinfo2();
    most = std::max(most, now.uordblks + now.hblkhd);
  };
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    std::string block = header_block({{":status", "200"}});
    block += '\x40';  // with indexing
    block += header_block({{"x-bomb", std::string(3900, 'b')}}).substr(1);
    block += std::string(12000, '\xbe');  // index 62, the newest entry
    peer.send(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, stream, block);
    peer.send_data(stream, grpc_message("x"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kResourceExhausted, Origin::kLocal, "headers take more than");
  EXPECT_LT(most, before.uordblks + before.hblkhd + (std::size_t{8} << 20));
}

TEST_F(BrokenReplyTest, AnInvalidHeaderFailsItsCallAlone) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "200"}, {"Upper-Case", "x"}, {":late", "pseudo"}},
                      false);
    peer.send_data(stream, grpc_message("x"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "PROTOCOL_ERROR");
}

}  // namespace
}  // namespace gcs::test
