#if RBD
    import BlockStorage
    import CRBD
    import Foundation
    import IORuntime
    import SystemPackage

    extension RBDPool {
        /// The pool's room as the monitors see it, replicas already taken off; `allocated` is what is stored, by whomever.
        /// With a data pool, that one's.
        public func statistics() async throws(StorageError) -> PoolStatistics {
            let connection = try await connection
            var statistics = try await space(connection)
            statistics.volumeCount = UInt64(
                try await RBDDirectory(connection: connection).names("pool statistics").values
                    .count { !$0.hasPrefix(PoolImage.temporaryPrefix) })
            return statistics
        }

        func space(_ connection: RBDConnection) async throws(StorageError) -> PoolStatistics {
            let answer = try await connection.monitorCommand(#"{"prefix": "df", "format": "json"}"#)
            guard let usage = try? JSONDecoder().decode(ClusterUsage.self, from: Data(answer)),
                let pool = usage.pools.first(where: { pool in
                    options.dataPool.map { pool.name == $0 } ?? (pool.id == connection.poolID)
                })
            else {
                throw failure(.inputOutput, "pool statistics", "", "the monitors' answer does not tell of the pool")
            }
            return PoolStatistics(
                capacity: pool.stats.stored.addingSaturating(pool.stats.maxAvailable), allocated: pool.stats.stored,
                available: pool.stats.maxAvailable)
        }
    }

    /// What `ceph df` prints.
    private struct ClusterUsage: Decodable {
        struct Pool: Decodable {
            var id: Int64
            var name: String
            var stats: Statistics
        }

        struct Statistics: Decodable {
            var stored: UInt64
            var maxAvailable: UInt64

            enum CodingKeys: String, CodingKey {
                case stored
                case maxAvailable = "max_avail"
            }
        }

        var pools: [Pool]
    }

    extension RBDConnection {
        /// The pool's number in the cluster.
        var poolID: Int64 { unsafe rados_ioctx_get_id(pool) }
    }
#endif
