#if ISCSI
    import BlockStorage

    extension ElementClient {
        private struct List: Decodable, Sendable { var qosPolicies: [ElementQoSPolicy] }
        private struct One: Decodable, Sendable { var qosPolicy: ElementQoSPolicy }

        private struct Created: ElementMade {
            var qosPolicy: ElementQoSPolicy
            var madeID: Int64 { qosPolicy.id }
        }

        /// The policies that volumes can share, in the order of their numbers.
        public func qosPolicies() async throws(StorageError) -> [ElementQoSPolicy] {
            try await qosPolicies(within: options.deadline)
        }

        private func qosPolicies(within time: Duration) async throws(StorageError) -> [ElementQoSPolicy] {
            let list: List = try await call("ListQoSPolicies", within: time)
            return list.qosPolicies.sorted { $0.id < $1.id }
        }

        /// Makes a policy. An answer that is lost is looked up by the name and the values before another one is made.
        public func createQoSPolicy(
            named name: String, _ qos: ElementQoS
        ) async throws(StorageError) -> ElementQoSPolicy {
            let what = "CreateQoSPolicy"
            let (id, answer): (Int64, Created?) = try await make(
                what, at: name, ["name": .text(name), "qos": .qos(qos)]
            ) { time throws(StorageError) in
                try await self.qosPolicies(within: time).filter { $0.name == name && $0.qos.isSame(as: qos) }.map(\.id)
            } discard: { id throws(StorageError) in
                try await self.deleteQoSPolicy(id)
            }
            if let policy = answer?.qosPolicy { return policy }
            guard let policy = try await qosPolicies().first(where: { $0.id == id }) else {
                throw failure(.notFound, what, "the array has no policy \(id)")
            }
            return policy
        }

        /// Changes a policy, and with it what all its volumes get, at once.
        public func modifyQoSPolicy(_ id: Int64, _ qos: ElementQoS) async throws(StorageError) -> ElementQoSPolicy {
            let answer: One = try await call(
                "ModifyQoSPolicy", at: "policy \(id)", ["qosPolicyID": .integer(id), "qos": .qos(qos)])
            guard answer.qosPolicy.id == id else {
                throw failure(.inputOutput, "ModifyQoSPolicy", "the array answers with another policy")
            }
            return answer.qosPolicy
        }

        /// One that is not there: success. Its volumes keep the values.
        public func deleteQoSPolicy(_ id: Int64) async throws(StorageError) {
            try await remove("DeleteQoSPolicy", "policy \(id)", ["qosPolicyID": .integer(id)])
        }
    }

    extension ElementQoS {
        /// Whether both ask for the same, whatever the array computed for them.
        public func isSame(as other: ElementQoS) -> Bool {
            minIOPS == other.minIOPS && maxIOPS == other.maxIOPS && burstIOPS == other.burstIOPS
        }
    }
#endif
