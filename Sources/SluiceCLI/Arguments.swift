import ArgumentParser
import BlockStorage
import Sluice

extension VolumeAddress: ExpressibleByArgument {
    public init?(argument: String) {
        guard let address = try? VolumeAddress(argument) else { return nil }
        self = address
    }
}

extension VolumeFormat: ExpressibleByArgument {}
extension ProvisioningType: ExpressibleByArgument {}
extension DeletePolicy: ExpressibleByArgument {}

/// The limits and guarantees of a volume.
struct QoSOptions: ParsableArguments {
    @Option(name: .customLong("min-iops"), help: ArgumentHelp("IOPS of 4 KiB that it can count on.", valueName: "n"))
    var minimum: UInt64?

    @Option(name: .customLong("max-iops"), help: ArgumentHelp("IOPS of 4 KiB that it may reach.", valueName: "n"))
    var maximum: UInt64?

    @Option(name: .customLong("burst-iops"), help: ArgumentHelp("IOPS for a while after a quiet time.", valueName: "n"))
    var burst: UInt64?

    /// Nil where no option is given.
    func policy() throws(StorageError) -> QoSPolicy? {
        if minimum == nil, maximum == nil, burst == nil { return nil }
        return try QoSPolicy(minIOPS: minimum, maxIOPS: maximum, burstIOPS: burst)
    }
}

extension VolumeAddress {
    /// Throws `invalidArgument` for a snapshot where a volume is wanted.
    func withoutSnapshot(_ what: String) throws(StorageError) -> VolumeAddress {
        guard snapshot == nil else {
            throw StorageError(.invalidArgument, what, at: "\(self)", why: "a volume is wanted, not a snapshot")
        }
        return self
    }
}
