#if ISCSI
    import BlockStorage

    /// A quality of service as the array has it: in operations of 4 KiB a second.
    public struct ElementQoS: Hashable, Sendable {
        /// 50 or 100 to 15,000, as the array's version has it.
        public var minIOPS: UInt64
        /// 50 or 100 to 100,000 or 200,000.
        public var maxIOPS: UInt64
        /// 50 or 100 to 100,000 or 200,000.
        public var burstIOPS: UInt64
        /// Seconds, computed by the array; nil in requests.
        public var burstTime: UInt64?
        /// What an operation of so many bytes costs, where one of 4096 costs 100. Computed by the array; empty in requests.
        public var curve: [UInt64: UInt64] = [:]

        public init(minIOPS: UInt64, maxIOPS: UInt64, burstIOPS: UInt64) {
            (self.minIOPS, self.maxIOPS, self.burstIOPS) = (minIOPS, maxIOPS, burstIOPS)
        }
    }

    extension ElementQoS: Codable {
        private enum Key: String, CodingKey { case minIOPS, maxIOPS, burstIOPS, burstTime, curve }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: Key.self)
            minIOPS = try container.decode(UInt64.self, forKey: .minIOPS)
            maxIOPS = try container.decode(UInt64.self, forKey: .maxIOPS)
            burstIOPS = try container.decode(UInt64.self, forKey: .burstIOPS)
            burstTime = try container.decodeIfPresent(UInt64.self, forKey: .burstTime)
            let curve = try container.decodeIfPresent([String: UInt64].self, forKey: .curve) ?? [:]
            for (size, cost) in curve { if let size = UInt64(size) { self.curve[size] = cost } }
        }

        /// What the array computes itself is not sent.
        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Key.self)
            try container.encode(minIOPS, forKey: .minIOPS)
            try container.encode(maxIOPS, forKey: .maxIOPS)
            try container.encode(burstIOPS, forKey: .burstIOPS)
        }
    }

    /// A quality of service with a name, which volumes share.
    public struct ElementQoSPolicy: Hashable, Sendable, Decodable {
        public var id: Int64
        public var name: String
        public var qos: ElementQoS
        public var volumeIDs: [Int64]

        private enum CodingKeys: String, CodingKey {
            case id = "qosPolicyID"
            case name, qos, volumeIDs
        }

        public init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            id = try container.decode(Int64.self, forKey: .id)
            name = try container.decode(String.self, forKey: .name)
            qos = try container.decode(ElementQoS.self, forKey: .qos)
            volumeIDs = try container.decodeIfPresent([Int64].self, forKey: .volumeIDs) ?? []
        }
    }
#endif
