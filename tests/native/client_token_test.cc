// SPDX-License-Identifier: Apache-2.0
//
// What the client shows to be let in, and how a token that was rotated heals.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "client/log.h"
#include "client_fixture.h"

namespace gcs::test {
namespace {

using Keys = std::vector<std::string>;
constexpr char kInvalidToken[] = "InvalidAuthToken: Authentication token is missing or incorrect";

class ClientToken : public ClientTest {
 protected:
  // A server that wants this token.
  void demand_token(const std::string& token) {
    connector().script = [](VirtualPeer& at) { at.send_settings(); };
    const auto answer = [token](VirtualPeer& at, VirtualStream& stream) {
      if (stream.header("authorization") != "Bearer " + token) {
        at.refuse(stream, StatusCode::kUnauthenticated, kInvalidToken);
      } else {
        at.reply(stream,
                 stream.path == kGetClusterIdPath ? identity_reply(kClusterA) : value_reply("v"));
      }
    };
    connector().on_call = answer;
    if (attempts() != 0) peer().on_call = answer;
  }
  std::string all_texts() {
    std::string texts;
    for (const auto& event : sink.events()) {
      texts += std::string(event->message()) + "\n" + std::string(event->details()) + "\n";
    }
    return texts;
  }
};

TEST_F(ClientToken, TheTokenGoesWithTheQuestionAndWithEveryCall) {
  options.token = "s3cret-t0ken";
  make_client();
  get("key");
  loop().run();
  peer().send_settings();
  loop().run();
  ASSERT_NE(question(), nullptr);
  EXPECT_EQ(question()->header("authorization"), "Bearer s3cret-t0ken");
  answer_identity(kClusterA);
  EXPECT_EQ(stream_of(peer(), "key").header("authorization"), "Bearer s3cret-t0ken");
}

TEST_F(ClientToken, AMissingTokenEndsWaitingCallsAtOnceAndSaysWhereItLooked) {
  options.token.reset();
  make_client();
  demand_token("s3cret-t0ken");
  const std::uint64_t call = get("key");
  const std::uint64_t connecting = connect();
  loop().run();
  for (const std::uint64_t id : {call, connecting}) {
    EXPECT_EQ(ended(id).status, grpc_status(16));
    EXPECT_EQ(ended(id).flags, kFlagAuth);
    for (const std::string& part : {std::string("InvalidAuthToken"), std::string("RAY_AUTH_TOKEN"),
                                    folder.path() + "/.ray/auth_token"}) {
      EXPECT_NE(ended(id).message().find(part), std::string_view::npos) << ended(id).message();
    }
  }
}

TEST_F(ClientToken, AWrongTokenIsNeverShown) {
  log::set_level(log::Level::kDebug);
  log::set_target(SinkReference(&sink), nullptr, nullptr);
  environment.set("RAY_AUTH_TOKEN", "wr0ng-t0ken");
  options.token.reset();
  make_client();
  demand_token("s3cret-t0ken");
  const std::uint64_t id = get("key");
  loop().run();
  EXPECT_EQ(ended(id).status, grpc_status(16));
  EXPECT_EQ(ended(id).flags, kFlagAuth);
  EXPECT_NE(ended(id).message().find("the token in RAY_AUTH_TOKEN was sent"),
            std::string_view::npos)
      << ended(id).message();
  environment.set("RAY_AUTH_TOKEN", "an0ther-t0ken");
  get("again");
  loop().advance(kSecond);
  client->close();
  loop().run();
  const std::string texts = all_texts();
  EXPECT_NE(texts.find("cannot connect"), std::string::npos) << "there are records to look through";
  EXPECT_EQ(texts.find("t0ken"), std::string::npos) << texts;
}

TEST_F(ClientToken, ATokenThatWasRotatedIsFoundWhileConnecting) {
  options.token.reset();
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "old"));
  make_client();
  demand_token("new");
  folder.write("token", "new");
  const std::uint64_t id = get("key");
  loop().run();
  EXPECT_EQ(ended(id).status, Status::kOk);
  EXPECT_EQ(attempts(), 1u);
}

TEST_F(ClientToken, ATokenThatWasRotatedHealsEveryCallInFlight) {
  options.token.reset();
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "old"));
  make_ready();
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(put("key" + std::to_string(i)));
  loop().run();
  folder.write("token", "new");
  // The first half is told together, the others one by one.
  std::size_t told = 0;
  for (VirtualStream* stream : peer().open_streams()) {
    EXPECT_EQ(stream->header("authorization"), "Bearer old");
    peer().finish(*stream, {StatusCode::kUnauthenticated,
                            transport::Origin::kServer,
                            Fate::kMayHaveRun,
                            kInvalidToken,
                            {}});
    if (++told >= 10) peer().tell();
  }
  EXPECT_EQ(peer().open_streams().size(), 20u);
  for (VirtualStream* stream : peer().open_streams()) {
    EXPECT_EQ(stream->header("authorization"), "Bearer new");
    peer().reply(*stream, number_reply(1));
  }
  for (const std::uint64_t id : ids) EXPECT_EQ(ended(id).status, Status::kOk);
}

TEST_F(ClientToken, ATokenThatIsWrongAfterARotationFails) {
  options.token.reset();
  environment.set("RAY_AUTH_TOKEN_PATH", folder.write("token", "old"));
  make_ready();
  const std::uint64_t id = put("key");
  loop().run();
  folder.write("token", "n3w-t0ken");
  peer().refuse(stream_of(peer(), "key"), StatusCode::kUnauthenticated, kInvalidToken);
  EXPECT_FALSE(has_ended(id));
  peer().refuse(stream_of(peer(), "key"), StatusCode::kUnauthenticated, kInvalidToken);
  EXPECT_EQ(ended(id).status, grpc_status(16));
  EXPECT_EQ(ended(id).flags, kFlagAuth);
  EXPECT_EQ(ended(id).message().find("t0ken"), std::string_view::npos) << ended(id).message();
}

TEST_F(ClientToken, DisabledAuthenticationSendsNoToken) {
  options.token.reset();
  environment.set("RAY_AUTH_TOKEN", "s3cret-t0ken");
  environment.set("RAY_AUTH_MODE", "disabled");
  make_client();
  get("key");
  loop().run();
  accept();
  EXPECT_EQ(stream_of(peer(), "key").header("authorization"), "");
}

TEST_F(ClientToken, ATokenThatCannotBeUsedRefusesTheClient) {
  options.token = "white\tspace";
  EXPECT_EQ(GcsClient::create(options, 1, &refusal), nullptr);
  EXPECT_EQ(refusal.status, Status::kInvalidArgument);
  EXPECT_EQ(refusal.flags, kFlagLocal | kFlagAuth);
  EXPECT_EQ(refusal.message.find("white\tspace"), std::string::npos);
  options.token.reset();
  environment.set("RAY_AUTH_TOKEN_PATH", "/does/not/exist");
  EXPECT_EQ(GcsClient::create(options, 1, &refusal), nullptr);
  EXPECT_NE(refusal.message.find("/does/not/exist"), std::string::npos);
}

// Its file is read on the thread that serves every client.
TEST_F(ClientToken, OfManyCallsThatAreRejectedTogetherOneLooksForAnother) {
  options.token.reset();
  const std::string path = folder.path() + "/token";
  folder.write("token", "old");
  environment.set("RAY_AUTH_TOKEN_PATH", path);
  make_ready();
  constexpr int kCalls = 90;
  for (int i = 0; i < kCalls; ++i) get("key" + std::to_string(i));
  loop().run();
  // A fifo takes each reading away: whoever looks again finds nothing.
  std::filesystem::remove(path);
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const int fifo = ::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK);
  ASSERT_GE(fifo, 0);
  ASSERT_EQ(::write(fifo, "new\n", 4), 4);
  const auto open = peer().open_streams();
  ASSERT_EQ(open.size(), static_cast<std::size_t>(kCalls));
  for (VirtualStream* stream : open) {
    transport::CallResult result;
    result.code = StatusCode::kUnauthenticated;
    result.message = kInvalidToken;
    peer().finish(*stream, result);
  }
  peer().tell();
  loop().run();
  EXPECT_EQ(peer().open_streams().size(), static_cast<std::size_t>(kCalls)) << "all sent again";
  for (VirtualStream* stream : peer().open_streams())
    EXPECT_EQ(stream->header("authorization"), "Bearer new");
  ::close(fifo);
}

}  // namespace
}  // namespace gcs::test
