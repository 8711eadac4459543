#if ISCSI
    import BlockStorage

    extension ElementClient {
        private struct Info: Decodable, Sendable { var clusterInfo: ElementClusterInfo }
        private struct Capacity: Decodable, Sendable { var clusterCapacity: ElementCapacity }
        private struct One: Decodable, Sendable { var volumeStats: ElementVolumeStatistics }
        private struct Statistics: Decodable, Sendable { var volumeStats: [ElementVolumeStatistics] }
        private struct Sessions: Decodable, Sendable { var sessions: [ElementSession] }

        /// What tells this array from any other.
        public func clusterInfo() async throws(StorageError) -> ElementClusterInfo {
            let answer: Info = try await call("GetClusterInfo")
            return answer.clusterInfo
        }

        /// What the array has and has promised.
        public func capacity() async throws(StorageError) -> ElementCapacity {
            let answer: Capacity = try await call("GetClusterCapacity")
            return answer.clusterCapacity
        }

        /// What the array's version allows.
        public func limits() async throws(StorageError) -> ElementLimits { try await call("GetLimits") }

        /// What a volume does. Throws `notFound` for one that is not there.
        public func statistics(of volumeID: Int64) async throws(StorageError) -> ElementVolumeStatistics {
            let answer: One = try await call(
                "GetVolumeStats", at: "volume \(volumeID)", ["volumeID": .integer(volumeID)])
            guard answer.volumeStats.volumeID == volumeID else {
                throw failure(.inputOutput, "GetVolumeStats", "the array answers with another volume")
            }
            return answer.volumeStats
        }

        /// What volumes do; all of them where none is named. It takes no longer than `time`, nor than a call may.
        public func statistics(
            ofVolumes volumeIDs: [Int64] = [], within time: Duration? = nil
        ) async throws(StorageError) -> [ElementVolumeStatistics] {
            let answer: Statistics = try await call(
                "ListVolumeStats", volumeIDs.isEmpty ? [:] : ["volumeIDs": .integers(volumeIDs)], within: time)
            return answer.volumeStats
        }

        /// Who is logged in to which volume now, on the whole array.
        public func sessions() async throws(StorageError) -> [ElementSession] {
            let answer: Sessions = try await call("ListISCSISessions")
            return answer.sessions
        }
    }

    /// An initiator that is logged in to a volume.
    public struct ElementSession: Hashable, Sendable, Decodable {
        public var volumeID: Int64
        /// Its name.
        public var initiatorName: String
        /// Its address, with a port; nil where the array does not tell.
        public var initiatorIP: String?
    }
#endif
