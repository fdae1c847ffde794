// SPDX-License-Identifier: Apache-2.0
//
// Replies that are errors, odd or broken: each ends its own call with a clear result, and the next call on the same
// connection is fine.
#include <malloc.h>

#include "transport_fixture.h"

namespace gcs::test {
namespace {

const Fields kOkHeaders{{":status", "200"}, {"content-type", "application/grpc"}};

class ReplyTest : public TransportTest {
 protected:
  using Answer = std::function<void(PeerConnection&, std::uint32_t stream)>;

  // One call that `answer` answers, then one that is echoed.
  TestCall& call_answered_by(Answer answer, std::string message = "hello") {
    peer_ = std::make_unique<ScriptedPeer>([answer = std::move(answer)](PeerConnection& self) {
      if (!self.greet()) return;
      const auto request = self.next_request();
      if (!request) return;
      answer(self, request->stream);
      self.echo();
    });
    EXPECT_TRUE(connect_to(*peer_));
    TestCall& call = add_call(std::move(message));
    connection->start(call);
    EXPECT_TRUE(run_to_end(call));
    EXPECT_EQ(call.ended, 1);
    TestCall& next = add_call("next");
    if (notes.closed == 0) {
      connection->start(next);
      EXPECT_TRUE(run_to_end(next));
    }
    EXPECT_TRUE(next.ok()) << next.result.message << notes.error.message;
    EXPECT_EQ(next.reply(), "next");
    EXPECT_EQ(call.ended, 1);
    return call;
  }
  static void expect(const TestCall& call, StatusCode code, Origin origin, std::string_view text) {
    EXPECT_EQ(call.result.code, code) << call.result.message;
    EXPECT_EQ(call.result.origin, origin);
    EXPECT_NE(call.result.message.find(text), std::string::npos) << call.result.message;
    EXPECT_EQ(call.response.size(), 0u);
    EXPECT_EQ(call.result.fate, Fate::kMayHaveRun);
  }

 private:
  std::unique_ptr<ScriptedPeer> peer_;
};

TEST_F(ReplyTest, AnErrorStatusBringsItsMessageAndDetailsDecoded) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "ignored",
               {{"grpc-status", "10"},
                {"grpc-message", "na%C3%AFve 100%25 %zz"},
                {"grpc-status-details-bin", "AP/+"}});
  });
  expect(call, StatusCode::kAborted, Origin::kServer, "na\xC3\xAFve 100% %zz");
  EXPECT_EQ(call.result.details, std::string("\x00\xff\xfe", 3));
}

TEST_F(ReplyTest, TrailersAloneAreAReply) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream,
                      {{":status", "200"},
                       {"content-type", "application/grpc"},
                       {"grpc-status", "12"},
                       {"grpc-message", "unknown method Echo"}},
                      true);
  });
  expect(call, StatusCode::kUnimplemented, Origin::kServer, "unknown method Echo");
}

TEST_F(ReplyTest, AnUnknownStatusNumberIsUnknown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "x", {{"grpc-status", "17"}, {"grpc-message", "new"}});
  });
  expect(call, StatusCode::kUnknown, Origin::kServer, "new");
}

TEST_F(ReplyTest, AStatusThatIsNoNumberIsUnknownAndShown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "x", {{"grpc-status", "OK"}});
  });
  expect(call, StatusCode::kUnknown, Origin::kServer, "OK");
}

TEST_F(ReplyTest, HttpStatusesWithoutAGrpcStatusAreMapped) {
  const std::vector<std::pair<std::string, StatusCode>> table{
      {"400", StatusCode::kInternal},    {"401", StatusCode::kUnauthenticated},
      {"403", StatusCode::kPermissionDenied}, {"404", StatusCode::kUnimplemented},
      {"429", StatusCode::kUnavailable}, {"502", StatusCode::kUnavailable},
      {"503", StatusCode::kUnavailable}, {"504", StatusCode::kUnavailable},
      {"500", StatusCode::kUnknown},     {"302", StatusCode::kUnknown},
      {"204", StatusCode::kUnknown}};
  for (const auto& [http, code] : table) {
    for (const bool with_body : {false, true}) {
      if (http == "204" && with_body) continue;
      SCOPED_TRACE(http);
      notes = Notes();
      calls.clear();
      const TestCall& call = call_answered_by([&](PeerConnection& peer, std::uint32_t stream) {
        peer.send_headers(stream, {{":status", http}, {"content-type", "text/html"}}, !with_body);
        if (with_body) peer.send_data(stream, "<html>", true);
      });
      expect(call, code, Origin::kPeer, "HTTP status " + http);
    }
  }
}

TEST_F(ReplyTest, AGrpcStatusWinsOverTheHttpStatus) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "503"}, {"grpc-status", "7"}, {"grpc-message", "no"}}, true);
  });
  expect(call, StatusCode::kPermissionDenied, Origin::kServer, "no");
}

TEST_F(ReplyTest, AnotherContentTypeIsUnknown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "200"}, {"content-type", "text/html"}}, false);
    peer.send_data(stream, "<html>", true);
  });
  expect(call, StatusCode::kUnknown, Origin::kPeer, "content-type");
}

TEST_F(ReplyTest, AContentTypeWithASuffixIsGrpc) {
  for (const char* type : {"application/grpc+proto", "application/grpc;charset=utf-8"}) {
    notes = Notes();
    calls.clear();
    const TestCall& call = call_answered_by([type](PeerConnection& peer, std::uint32_t stream) {
      peer.send_headers(stream, {{":status", "200"}, {"content-type", type}}, false);
      peer.send_data(stream, grpc_message("fine"), false);
      peer.send_headers(stream, {{"grpc-status", "0"}}, true);
    });
    EXPECT_TRUE(call.ok()) << call.result.message;
    EXPECT_EQ(call.reply(), "fine");
  }
}

TEST_F(ReplyTest, InformationalHeadersAreSkipped) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "103"}, {"link", "x"}}, false);
    peer.reply(stream, "fine");
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "fine");
}

TEST_F(ReplyTest, AMissingStatusIsUnknown) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("x"), true);
  });
  expect(call, StatusCode::kUnknown, Origin::kPeer, "without a grpc-status");
}

TEST_F(ReplyTest, AStatusOutsideTheLastHeadersIsNone) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream,
                      {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-status", "5"}},
                      false);
    peer.send_data(stream, grpc_message("fine"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
}

TEST_F(ReplyTest, ACompressedMessageIsRefusedAndTheEncodingNamed) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream,
                      {{":status", "200"}, {"content-type", "application/grpc"}, {"grpc-encoding", "gzip"}},
                      false);
    peer.send_data(stream, grpc_message("zzz", 1), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "compressed with 'gzip'");
}

TEST_F(ReplyTest, ACompressedMessageWithoutAnEncodingIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("zzz", 1), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "compressed");
}

TEST_F(ReplyTest, TheIdentityEncodingIsFine) {
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

TEST_F(ReplyTest, AnErrorOfAServerThatNamesAnEncodingKeepsItsStatus) {
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

TEST_F(ReplyTest, AnUnknownCompressionFlagIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("zzz", 9), true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "begins with 9");
}

TEST_F(ReplyTest, AMessageShorterThanItsPrefixIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("0123456789").substr(0, 12), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "7 bytes of a message of 10");
}

TEST_F(ReplyTest, TwoMessagesAreRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("one") + grpc_message("two"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "more than one message");
}

TEST_F(ReplyTest, OkWithoutAMessageIsRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "sent no message");
}

TEST_F(ReplyTest, TrailersThatDoNotEndTheStreamFailTheirCallAlone) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("one"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, false);
    peer.send_data(stream, "after the trailers", true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "HTTP/2");
}

TEST_F(ReplyTest, DataAfterTheEndOfAStreamIsIgnored) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, "fine");
    peer.send_data(stream, "after the end", false);
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "fine");
}

TEST_F(ReplyTest, AMessageInManyPiecesIsPutTogether) {
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

TEST_F(ReplyTest, AMessageOverTheLimitIsRefusedOnItsPrefix) {
  options.max_receive_message = 1000;
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message(std::string(1001, 'x')), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kResourceExhausted, Origin::kLocal, "1001 bytes, over the limit of 1000");
}

TEST_F(ReplyTest, AMessageAtTheLimitIsFine) {
  options.max_receive_message = 1000;
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.reply(stream, std::string(1000, 'x'));
  });
  EXPECT_TRUE(call.ok()) << call.result.message;
}

TEST_F(ReplyTest, AnAnnouncedLengthAllocatesNothing) {
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

TEST_F(ReplyTest, HeadersOverTheLimitAreRefused) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    Fields trailers{{"grpc-status", "0"}};
    for (int i = 0; i < 100; ++i) trailers.emplace_back("x-" + std::to_string(i), std::string(100, 'y'));
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
    for (int i = 0; i < 100; ++i) trailers.emplace_back("x-" + std::to_string(i), std::string(100, 'y'));
    peer.send_headers(stream, kOkHeaders, false);
    peer.send_data(stream, grpc_message("x"), false);
    peer.send_headers(stream, trailers, true);
  });
  expect(refused, StatusCode::kResourceExhausted, Origin::kLocal, "more than 8000 bytes");
}

TEST_F(ReplyTest, AHeaderBombCostsNoMemory) {
  // One large header enters HPACK's table, and a byte each repeats it: 4 KB x 16000 = 64 MB from 20 KB.
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

TEST_F(ReplyTest, AnInvalidHeaderFailsItsCallAlone) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_headers(stream, {{":status", "200"}, {"Upper-Case", "x"}, {":late", "pseudo"}}, false);
    peer.send_data(stream, grpc_message("x"), false);
    peer.send_headers(stream, {{"grpc-status", "0"}}, true);
  });
  expect(call, StatusCode::kInternal, Origin::kLocal, "PROTOCOL_ERROR");
}

TEST_F(ReplyTest, ResetsAreMapped) {
  const std::vector<std::pair<std::uint32_t, StatusCode>> table{
      {NGHTTP2_NO_ERROR, StatusCode::kInternal},
      {NGHTTP2_PROTOCOL_ERROR, StatusCode::kInternal},
      {NGHTTP2_INTERNAL_ERROR, StatusCode::kInternal},
      {NGHTTP2_FLOW_CONTROL_ERROR, StatusCode::kInternal},
      {NGHTTP2_FRAME_SIZE_ERROR, StatusCode::kInternal},
      {NGHTTP2_CANCEL, StatusCode::kCancelled},
      {NGHTTP2_ENHANCE_YOUR_CALM, StatusCode::kResourceExhausted},
      {NGHTTP2_INADEQUATE_SECURITY, StatusCode::kPermissionDenied},
      {77, StatusCode::kInternal}};
  for (const auto& [reset, code] : table) {
    SCOPED_TRACE(reset);
    notes = Notes();
    calls.clear();
    const TestCall& call = call_answered_by([reset = reset](PeerConnection& peer, std::uint32_t stream) {
      peer.send_reset(stream, reset);
    });
    expect(call, code, Origin::kPeer, "RST_STREAM");
  }
}

TEST_F(ReplyTest, ARefusedStreamNeverRan) {
  const TestCall& call = call_answered_by([](PeerConnection& peer, std::uint32_t stream) {
    peer.send_reset(stream, NGHTTP2_REFUSED_STREAM);
  });
  EXPECT_EQ(call.result.code, StatusCode::kUnavailable);
  EXPECT_EQ(call.result.origin, Origin::kPeer);
  EXPECT_EQ(call.result.fate, Fate::kNeverRan);
  EXPECT_NE(call.result.message.find("REFUSED_STREAM"), std::string::npos);
}

TEST_F(ReplyTest, AReplyAndAResetBeforeTheRequestWasSentAreANormalReply) {
  ScriptedPeer peer([](PeerConnection& self) {
    self.credit_data = false;  // the request stops at the initial window
    if (!self.greet()) return;
    const auto request = self.next_headers();
    if (!request) return;
    self.reply(request->stream, "early");
    self.send_reset(request->stream, NGHTTP2_NO_ERROR);
    self.credit_data = true;
    self.send(NGHTTP2_WINDOW_UPDATE, 0, 0, std::string("\0\1\0\0", 4));
    self.echo();
  });
  ASSERT_TRUE(connect_to(peer));
  TestCall& call = add_call(std::string(1 << 20, 'x'));
  call.share();
  start(call);
  ASSERT_TRUE(run_to_end(call));
  EXPECT_TRUE(call.ok()) << call.result.message;
  EXPECT_EQ(call.reply(), "early");
  TestCall& next = add_call("next");
  start(next);
  ASSERT_TRUE(run_to_end(next));
  EXPECT_TRUE(next.ok());
}

TEST_F(ReplyTest, ARequestThatWasAnsweredEarlyIsResetOnThisSide) {
  std::atomic<std::uint32_t> reset_code{0};
  ScriptedPeer peer([&](PeerConnection& self) {
    self.credit_data = false;
    if (!self.greet()) return;
    const auto request = self.next_headers();
    if (!request) return;
    self.reply(request->stream, "early");
    if (const auto code = self.next_reset(request->stream)) reset_code = *code;
    self.wait_for_end();
  });
  ASSERT_TRUE(connect_to(peer));
  start(add_call(std::string(1 << 20, 'x')));
  ASSERT_TRUE(run_to_end(calls[0]));
  EXPECT_TRUE(calls[0].ok()) << calls[0].result.message;
  ASSERT_TRUE(run_until([&] { return reset_code != 0; }));
  EXPECT_EQ(reset_code, static_cast<std::uint32_t>(NGHTTP2_CANCEL));
}

}  // namespace
}  // namespace gcs::test
