#include "engine/image/live_volumes.h"

#include "engine/image/lvm_ops_fixture_test.h"

namespace respaldo::engine {
namespace {

using Live = LvmOps;

TEST_F(Live, only_the_one_who_has_it_open_claims_a_volume) {
  make_group();
  make_lv("root", 20);
  make_lv("var", 20);
  disks_.reset();
  LiveVolumes volumes(DiskSet::open(images_, LockMode::exclusive), false);
  const VolumeName root{"vg0", "root"}, var{"vg0", "var"};
  EXPECT_FALSE(volumes.claim(root));
  auto mount = volumes.open(root);
  {
    const auto restore = volumes.open(root);
    EXPECT_FALSE(volumes.claim(root));
  }
  mount.reset();
  {
    const auto restore = volumes.open(root);
    EXPECT_TRUE(volumes.claim(root));
    EXPECT_FALSE(volumes.claim(root));
    EXPECT_EQ(error_of([&] { volumes.open(root); }).kind(), ErrorKind::busy);
    EXPECT_NO_THROW(volumes.open(var));
  }
  EXPECT_NO_THROW(volumes.open(root));
}

}  // namespace
}  // namespace respaldo::engine
