// The hot parts of a backup, each beside what bounds it on this machine: build/release/bench/micro
// [--benchmark_filter=REGEX]. Bytes per second of one core, unless a name says how many threads.
#include <benchmark/benchmark.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/crc.h"
#include "chunk/content_cutter.h"
#include "crypto/crypto.h"
#include "repo/compression.h"
#include "repo/index.h"
#include "testing/temp.h"

namespace respaldo {
namespace {

constexpr std::size_t kBlob = 1U << 20;
constexpr std::size_t kInput = 32U << 20;  // well above the processor's caches

// What a system volume holds: this program with its symbols, again and again with other bytes between.
const Bytes& binary_bytes() {
  static const Bytes bytes = [] {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    const std::string self((std::istreambuf_iterator<char>(file)), {});
    std::mt19937_64 random(1);
    Bytes result(kInput);
    for (std::size_t at = 0; at < kInput;) {
      const std::size_t length = std::min(self.size(), kInput - at);
      std::memcpy(result.data() + at, self.data(), length);
      // No two blobs alike, and none of them like its beginning.
      for (std::size_t i = at; i + 8 <= at + length; i += 512) {
        const std::uint64_t word = random();
        std::memcpy(result.data() + i, &word, sizeof word);
      }
      at += length;
    }
    return result;
  }();
  return bytes;
}

const Bytes& random_input() {
  static const Bytes bytes = testing::random_bytes(kInput, 2);
  return bytes;
}

// Calls work(blob) with one blob of the input after the other.
template <class Work>
void over_blobs(benchmark::State& state, const Bytes& input, const Work& work) {
  std::size_t at = 0;
  for (auto unused : state) {
    static_cast<void>(unused);
    work(input.view(at, kBlob));
    at = (at + kBlob) % kInput;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * static_cast<std::int64_t>(kBlob));
}

void memory_copy(benchmark::State& state) {
  Bytes out(kBlob);
  over_blobs(state, random_input(), [&](ByteView blob) {
    std::memcpy(out.data(), blob.data(), blob.size());
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  });
}
BENCHMARK(memory_copy);

void zeros_seen(benchmark::State& state) {
  const Bytes zeros = Bytes::zeroed(kInput);
  over_blobs(state, zeros, [](ByteView blob) { benchmark::DoNotOptimize(is_zero(blob)); });
}
BENCHMARK(zeros_seen);

void content_cuts(benchmark::State& state) {
  const chunk::ContentCutter cutter(42);
  const ByteView all = random_input().view();
  std::size_t at = 0, bytes = 0;
  for (auto unused : state) {
    static_cast<void>(unused);
    if (kInput - at < chunk::ContentCutter::kLongest) at = 0;
    const std::size_t length = cutter.cut(all.subspan(at));
    at += length;
    bytes += length;
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(content_cuts);

// SHA-256: one message, and as many at once as the argument says.
void sha256_one(benchmark::State& state) {
  over_blobs(state, random_input(), [](ByteView blob) { benchmark::DoNotOptimize(crypto::sha256(blob)); });
}
BENCHMARK(sha256_one);

void sha256_many(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  std::vector<ByteView> messages;
  for (std::size_t i = 0; i < count; ++i) messages.push_back(random_input().view(i * kBlob, kBlob));
  std::vector<crypto::Digest> digests(count);
  for (auto unused : state) {
    static_cast<void>(unused);
    crypto::sha256_many(messages, digests);
    benchmark::DoNotOptimize(digests.data());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * count * kBlob));
}
BENCHMARK(sha256_many)->Arg(2)->Arg(4)->Arg(8)->Arg(16)->Arg(24);

// The limits of sealing: what OpenSSL does alone.
void aes_256_ctr(benchmark::State& state) {
  const std::unique_ptr<EVP_CIPHER_CTX, void (*)(EVP_CIPHER_CTX*)> context(EVP_CIPHER_CTX_new(),
                                                                           EVP_CIPHER_CTX_free);
  const std::array<unsigned char, 32> key{1};
  const std::array<unsigned char, 16> iv{2};
  Bytes out(kBlob);
  over_blobs(state, random_input(), [&](ByteView blob) {
    int length = 0;
    EVP_EncryptInit_ex(context.get(), EVP_aes_256_ctr(), nullptr, key.data(), iv.data());
    EVP_EncryptUpdate(context.get(), out.data(), &length, blob.data(), static_cast<int>(blob.size()));
    benchmark::DoNotOptimize(out.data());
  });
}
BENCHMARK(aes_256_ctr);

void poly1305(benchmark::State& state) {
  const std::unique_ptr<EVP_MAC, void (*)(EVP_MAC*)> mac(EVP_MAC_fetch(nullptr, "POLY1305", nullptr),
                                                         EVP_MAC_free);
  const std::unique_ptr<EVP_MAC_CTX, void (*)(EVP_MAC_CTX*)> context(EVP_MAC_CTX_new(mac.get()),
                                                                     EVP_MAC_CTX_free);
  const std::array<unsigned char, 32> key{3};
  std::array<unsigned char, 16> tag{};
  over_blobs(state, random_input(), [&](ByteView blob) {
    std::size_t length = 0;
    EVP_MAC_init(context.get(), key.data(), key.size(), nullptr);
    EVP_MAC_update(context.get(), blob.data(), blob.size());
    EVP_MAC_final(context.get(), tag.data(), &length, tag.size());
    benchmark::DoNotOptimize(tag.data());
  });
}
BENCHMARK(poly1305);

void sealed(benchmark::State& state) {
  crypto::Cipher cipher(crypto::MasterKey::random());
  Bytes out(kBlob + crypto::kOverhead);
  over_blobs(state, random_input(), [&](ByteView blob) { cipher.seal(blob, {out.data(), out.size()}); });
}
BENCHMARK(sealed);

// What a blob that cannot be compressed must cost: on all processors at once, each with its own blobs.
void hash_and_seal(benchmark::State& state) {
  constexpr std::size_t kBatch = 16;
  crypto::Cipher cipher(crypto::MasterKey::random());
  std::vector<ByteView> messages;
  for (std::size_t i = 0; i < kBatch; ++i) messages.push_back(random_input().view(i * kBlob, kBlob));
  std::vector<crypto::Digest> digests(kBatch);
  Bytes out(kBlob + crypto::kOverhead);
  for (auto unused : state) {
    static_cast<void>(unused);
    crypto::sha256_many(messages, digests);
    benchmark::DoNotOptimize(digests.data());
    for (const ByteView message : messages) cipher.seal(message, {out.data(), out.size()});
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kBatch * kBlob));
}
BENCHMARK(hash_and_seal)->Threads(static_cast<int>(std::thread::hardware_concurrency()))->UseRealTime();

void opened(benchmark::State& state) {
  crypto::Cipher cipher(crypto::MasterKey::random());
  const Bytes box = cipher.seal(random_input().view(0, kBlob));
  Bytes out(kBlob);
  over_blobs(state, random_input(), [&](ByteView) {
    benchmark::DoNotOptimize(cipher.open(box.view(), {out.data(), out.size()}));
  });
}
BENCHMARK(opened);

// zstd alone at a level, and the repository's own choice.
void zstd_level(benchmark::State& state) {
  const std::unique_ptr<ZSTD_CCtx, std::size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  Bytes out(ZSTD_compressBound(kBlob));
  std::size_t in = 0, packed = 0;
  over_blobs(state, binary_bytes(), [&](ByteView blob) {
    packed += ZSTD_compressCCtx(context.get(), out.data(), out.size(), blob.data(), blob.size(),
                                static_cast<int>(state.range(0)));
    in += blob.size();
  });
  state.counters["left"] = static_cast<double>(packed) / static_cast<double>(in);
}
BENCHMARK(zstd_level)->Arg(-1)->Arg(1)->Arg(3);

void compressed(benchmark::State& state) {
  repo::Compressor compressor(static_cast<int>(state.range(0)));
  Bytes out(repo::Compressor::bound(kBlob));
  std::size_t in = 0, packed = 0;
  over_blobs(state, binary_bytes(), [&](ByteView blob) {
    packed += compressor.compress(blob, {out.data(), out.size()});
    in += blob.size();
  });
  state.counters["left"] = static_cast<double>(packed) / static_cast<double>(in);
}
BENCHMARK(compressed)->Arg(repo::kAutoLevel);

void found_incompressible(benchmark::State& state) {
  repo::Compressor compressor(repo::kAutoLevel);
  over_blobs(state, random_input(),
             [&](ByteView blob) { benchmark::DoNotOptimize(compressor.worthwhile(blob)); });
}
BENCHMARK(found_incompressible);

void decompressed(benchmark::State& state) {
  repo::Compressor compressor(repo::kAutoLevel);
  repo::Decompressor decompressor;
  Bytes packed(repo::Compressor::bound(kBlob)), out(kBlob);
  const std::size_t length =
      compressor.compress(binary_bytes().view(kBlob, kBlob), {packed.data(), packed.size()});
  over_blobs(state, binary_bytes(), [&](ByteView) {
    benchmark::DoNotOptimize(decompressor.decompress(packed.view(0, length), {out.data(), out.size()}));
  });
}
BENCHMARK(decompressed);

// A million blobs: one random access to memory is the limit.
void index_found(benchmark::State& state) {
  constexpr std::size_t kBlobs = 1'000'000, kPack = 20;
  std::mt19937_64 random(4);
  const auto id = [&] {
    repo::BlobId made;
    for (std::size_t i = 0; i < made.bytes.size(); i += 8) {
      const std::uint64_t word = random();
      std::memcpy(made.bytes.data() + i, &word, sizeof word);
    }
    return made;
  };
  repo::Index index;
  index.reserve(kBlobs);
  std::vector<repo::BlobId> ids;
  for (std::size_t pack = 0; pack < kBlobs / kPack; ++pack) {
    repo::PackContents contents;
    contents.pack.bytes = id().bytes;
    for (std::uint32_t i = 0; i < kPack; ++i) {
      contents.blobs.push_back({repo::BlobType::data, id(), i * 500000, 500000, 1000000});
      ids.push_back(contents.blobs.back().id);
    }
    index.add(contents);
  }
  index.freeze();
  std::size_t at = 0;
  for (auto unused : state) {
    static_cast<void>(unused);
    benchmark::DoNotOptimize(index.find(repo::BlobType::data, ids[at]));
    at = (at + 7919) % ids.size();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(index_found);

void crc_of_lvm(benchmark::State& state) {
  over_blobs(state, random_input(), [](ByteView blob) { benchmark::DoNotOptimize(lvm_crc(blob)); });
}
BENCHMARK(crc_of_lvm);

}  // namespace
}  // namespace respaldo

BENCHMARK_MAIN();
