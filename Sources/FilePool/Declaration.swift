import BlockStorage

/// What a pool knows of a file beyond its bytes: that it is a volume or a template, and in which format.
///
/// It is kept in the pool, where every host sees it, as the target of a symbolic link with the file's name in the
/// hidden directory: one that leads nowhere but is made, read and removed in one step each on any file system. A file
/// without one is not managed: its format is never guessed from its bytes, which a guest may have written.
struct Declaration: Equatable, Sendable {
    enum Kind: String, Sendable { case volume, template }

    var kind: Kind
    var format: VolumeFormat
    var provisioning: ProvisioningType

    init(_ kind: Kind, _ format: VolumeFormat, _ provisioning: ProvisioningType = .thin) {
        (self.kind, self.format, self.provisioning) = (kind, format, provisioning)
    }

    /// `volume:qcow2:thin`
    var text: String { "\(kind.rawValue):\(format.rawValue):\(provisioning.rawValue)" }

    /// Nil for any other text.
    init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let kind = Kind(rawValue: parts[0]), let format = VolumeFormat(rawValue: parts[1]),
            let provisioning = ProvisioningType(rawValue: parts[2])
        else { return nil }
        self.init(kind, format, provisioning)
    }
}
