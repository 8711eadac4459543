/// What a pool knows of a volume beyond its bytes: that it is a volume or a template, in which format, with which
/// policy, and how much room it was promised.
///
/// A pool that has no better place for it keeps it as a line of text beside the volumes, where every host sees it. What
/// has none is not managed: its format is never guessed from its bytes, which a guest may have written.
package struct Declaration: Equatable, Sendable {
    package enum Kind: String, Sendable {
        case volume, template
        /// A name and the room for a volume that is not made yet.
        case reservation
    }

    package var kind: Kind
    package var format: VolumeFormat
    package var provisioning: ProvisioningType
    /// Logical bytes: of the volume, and of each of its snapshots. Nil where a version that did not count wrote it.
    package var bytes: UInt64?
    package var qos: QoSPolicy?
    /// In a file pool the staged file that becomes the file: while neither is there, whoever declared this is dead. Or a
    /// slash and the name that the file has until it gets this one. In an RBD pool what `RBDOrigin` says.
    package var origin: String?

    package init(
        _ kind: Kind, _ format: VolumeFormat, _ provisioning: ProvisioningType = .thin, bytes: UInt64? = nil,
        qos: QoSPolicy? = nil
    ) {
        (self.kind, self.format, self.provisioning) = (kind, format, provisioning)
        (self.bytes, self.qos) = (bytes, qos)
    }

    /// What it takes of the pool's limits: nothing yet for a file that counts under the name that it has.
    package var provisioned: Provisioned {
        oldName == nil ? Provisioned(bytes: bytes ?? 0, minIOPS: qos?.minIOPS ?? 0) : Provisioned()
    }

    /// The name that the file has until it gets this one, if it is being renamed.
    package var oldName: String? { origin.flatMap { $0.hasPrefix("/") ? String($0.dropFirst()) : nil } }

    /// What a reservation becomes; anything else as it is.
    package var asVolume: Declaration {
        var result = self
        if kind == .reservation { result.kind = .volume }
        return result
    }

    /// The same for a file that has the name `oldName` now; for one that has its name, if that is nil.
    package func moved(from oldName: String?) -> Declaration {
        var result = self
        result.origin = oldName.map { "/\($0)" }
        return result
    }

    /// Whether both declare the same file, whoever makes it.
    package func isSame(as other: Declaration) -> Bool {
        kind == other.kind && format == other.format && provisioning == other.provisioning
            && (bytes == other.bytes || bytes == nil || other.bytes == nil) && qos == other.qos
    }
}

extension Declaration {
    /// `volume:qcow2:thin`, followed by as many of `:bytes`, `:minimum,maximum,burst[,bytes]` and `:origin` as there are.
    package var text: String {
        let policy = qos.map { qos in
            var values = [qos.minIOPS, qos.maxIOPS, qos.burstIOPS]
            if let bytes = qos.maxBytesPerSecond { values.append(bytes) }
            return values.map { $0.map { "\($0)" } ?? "" }.joined(separator: ",")
        }
        var fields = [bytes.map { "\($0)" } ?? "", policy ?? "", origin ?? ""]
        while fields.last?.isEmpty == true { fields.removeLast() }
        return ([kind.rawValue, format.rawValue, provisioning.rawValue] + fields).joined(separator: ":")
    }

    /// Nil for any other text.
    package init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (3...6).contains(parts.count), let kind = Kind(rawValue: String(parts[0])),
            let format = VolumeFormat(rawValue: String(parts[1])),
            let provisioning = ProvisioningType(rawValue: String(parts[2]))
        else { return nil }
        self.init(kind, format, provisioning)
        if parts.count > 3, !parts[3].isEmpty {
            guard let bytes = Self.number(parts[3]) else { return nil }
            self.bytes = bytes
        }
        if parts.count > 4, !parts[4].isEmpty {
            guard let qos = Self.policy(parts[4]) else { return nil }
            self.qos = qos
        }
        if parts.count > 5 { origin = String(parts[5]) }
    }

    private static func policy(_ text: Substring) -> QoSPolicy? {
        let values = text.split(separator: ",", omittingEmptySubsequences: false)
        let numbers = values.map { number($0) }
        guard (3...4).contains(values.count), zip(values, numbers).allSatisfy({ $0.isEmpty || $1 != nil }) else {
            return nil
        }
        return try? QoSPolicy(
            minIOPS: numbers[0], maxIOPS: numbers[1], burstIOPS: numbers[2],
            maxBytesPerSecond: numbers.count > 3 ? numbers[3] : nil)
    }

    private static func number(_ text: Substring) -> UInt64? {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt64(text) : nil
    }
}
