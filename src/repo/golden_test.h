// A small repository written by hand and accepted by restic 0.14.0, 0.18.0 and 0.19.1; password "respaldo".
#pragma once

namespace respaldo::repo::golden {

struct File {
  const char* type;  // folder
  const char* name;
  const char* base64;
};

// clang-format off
inline constexpr File kFiles[] = {
    {"keys", "4540e8b266a79c968031a8442bf3e447fbd75274e3ef444af87cab7a6c28bd96",
     "eyJjcmVhdGVkIjoiMjAyNi0wMS0wMlQwMzowNDowNS42NzhaIiwidXNlcm5hbWUiOiJyb290IiwiaG9zdG5hbWUiOiJnb2xk"
     "ZW4iLCJrZGYiOiJzY3J5cHQiLCJOIjoxMDI0LCJyIjo4LCJwIjoxLCJzYWx0IjoiQUFFQ0F3UUZCZ2NJQ1FvTERBME9EeEFS"
     "RWhNVUZSWVhHQmthR3h3ZEhoOGdJU0lqSkNVbUp5Z3BLaXNzTFM0dk1ERXlNelExTmpjNE9UbzdQRDArUHc9PSIsImRhdGEi"
     "OiIxWG54WmRialpwck5EZ2Rjd3VSKzM2dkRJdktaZlR4QlpNL2h4WENEcWx5cmdlbzZ2bE5lK00zQXRsMnNrSjlSSTl2OFVh"
     "ajVHU2JvbjFtZEdKV05zTXMvT05zdFN6UVVUSU9hUW0wY3pncUc5R0Y4WkNlMlY2NitHbVZGczVxeE4xUkg0OWRkRjkrdnZY"
     "SGl6cFVYd3p6cDNvWUZaTjdSVjl3RTV1eEtqOTN2dWZkY2pKNzhVRkl2cytTRGtOZUtSZUdjNVNtM052djlQTmxudFB3WDhn"
     "PT0ifQ=="},
    {"config", "",
     "wThnW9N8fkkxgmSr82N5QrRjIw1f3n4sqk/oozejssOdKsoDd69uWIpw1u+5ncGSZXGxjvci0Uhl2vUkC7OquOSG507tLVIc"
     "iTwoWllr76y7tGiqJpJhZ6LMrUcLuY4+ylFiTkQzZPF96u0oi2qW40Bnr3FMjaF0+644AFXVRY3lpQdlrC2v2emteDZC5Ya2"
     "rJkObNhtJylMAQc="},
    {"data", "0aadcd3c30b5d483b6f79e46f5e35212537f184a7239a3b7829a65d125cd91fd",
     "7UNEc+0sSy875X+xHSam3wePn/ojNnBi7jIuYsyLt43/z+rKdxGuFeiiO8Oc9SjTrdHX5uXBHuq5jNX3LfOaRwQ1fBptjZ8x"
     "7pZJU6VetxMHs6g6aiqnOLLoMkf8NziOHknMM47wKXHabfbaA0vJYJCiEgeqr6cGfWVqTcnzfNaSeaRC2K4Z8MZYf63+YtdZ"
     "6qmol18Et3voHHyfRmKEmZsR7EGeG+j7ZrekYUNCxLVXjwoJxB3c7zh98dv7VsS1SQ0lZopnH6rEU+fPsW4AAAA="},
    {"data", "7abf989ce6d077b69dbfbcc5fbb24bb34b7b234a3795a3ab957ac8c237f05b94",
     "avLWZFRfVjmCq4poiBN6/5o+NWs7fhpp9/xvu2eSwSPbXREPo9V2PN9Rl7G9NblnmUMrkCPtfstZa6o26jPljgBbb5JtGr0I"
     "wKRklc+RHUFGJADnqn2Kx6D0549VcN0z/6CLnicr+OpZLA1MIpSp+McKfwS7n26c0bwNhenLsTNVdE5K8VDS2Y2C+suySLeR"
     "1XnnQmqciqVFDJ6uZu2aIwJVY2FvlbfQkyUWAdZb6Jiaay3+cITudOkQ9z5ThCFhfCRvwyagV8eS64RNoc86BjA48g0QYIa1"
     "YQtsH9XARWzGM6YxFHVfNCV6Bzm7ckgRvJQh8kcU02wFyavySkLQk06FYIBgJgBpukB4MPEq5vOo5VY3wC1C2vlmCxlg2+m7"
     "bRFwflONUEaqoq1MHHy3pVK65vvVp720RzKWAWebCMUt/RIRSLy16sAAFVDWFlM+PLrEwwANG+Es2zDjiYBdCBNGB91rBmAJ"
     "Dfp3LOfkX9YvpmsBBIlzem+BtcH24sDwcIWZqcbso0izrCMLTug0rOkG/W/+daXcoLDkb96McQ3aAJDbG0Pi6b/2sTeYHb9v"
     "QRU5xZp7D96Rg9479FfM5mE5aof/U/45mB3DF+SEtxrPlf/5PjsPK+fBUbt5D2Wz0j+c53VbvgyDO7eNhQi2XtXyhXDTA6/X"
     "yiZOyZaYJk4s6eUXCkLFITHBLFWdJL5ywmAta2hSbimOabC2RQAAAA=="},
    {"index", "cb0bb86f9b5ed472b7d3fed52aeccd14f4a0ffee9b302785bca775b9b18c4143",
     "0lceqmvFjfd56GjBcxS/qJtwWtKRf7/Bo5LITQ/l1lfIpp5CCP/k0AfMVxmxFwZIqkfQkuG5IjV4st7RLj6jMbTF7sz97kUN"
     "waHfD4m8hhvXC2uVbeFrM3Kg8am8IZRxN2USW0Hemc2UKfTY5bb/mDhBZUvcdZuUDfkMABNWa77T61EQ0eAD48bZOqkZKnbh"
     "dxn8SMZnk72jrRTg3+tl+jhMiMGusA20vA//OG5sTV/WG8adtpAyoxYnInwKOm/dJq98c+VyOwqY4QFulaYZn5ubpWCAKRHe"
     "94okGJyonr7fI3vK3I7wTJThUtoNOV254xtCrJyO5YkBcxo0/Zmm4hkGHh+6hRMJL0IN6oZEQg+6HEunwX4ts/yXZQOTrW/h"
     "D3yPgl6VJP/5NBWL2N14h48OvOMIUQS0yn56Jin6ZFMkS8hYFNFO4mauacKEjgAdTiPwdtjwmbvQhUlz4isxkpfTd3w="},
    {"snapshots", "ba2628606664cdc319c0b71ad155567fc43f5c4ed6a06759f76ec2bea1c97733",
     "GOkgJM0AI7gAhRZvfjL9N+o/7Xnmb0+ZyIA1bsxLwUxJiuW9eYEIrOSYg4jfyRTerUVfR4AKUyMAXee40ue/ihKJzVDxbsd6"
     "zxn9K5D5vx2LLkDlltZVNeg4XaZxhieaUKcf24LxKrr4SnH2NYE1RhRTOoSNI1slXqkbstTdxZXAgLVMByBk8vrtyrlpm3Z0"
     "7Eht5Tc0sI5TPkN6q4JWqjMy64Epxvcl3rioAiu39NmFe8hwRRD3fz9nQBn8v2UAyNFAGXU="},
};
// clang-format on

}  // namespace respaldo::repo::golden
