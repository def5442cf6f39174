module tsdb-bench/peers/workload

go 1.26

require github.com/klauspost/compress v1.20.0
