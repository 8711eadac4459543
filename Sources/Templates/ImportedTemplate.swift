import BlockStorage

/// A template that an import has brought, or found.
public struct ImportedTemplate: Equatable, Sendable {
    public var template: VolumeDescription
    /// To be recorded, for the next import under this name.
    public var record: TemplateRecord
    /// Whether the pool had the template already.
    public var wasThere: Bool
    /// What became of the places that it was read from.
    public var report: DownloadReport?
}

/// What to remember of an import, so that the next one need not be done.
public struct TemplateRecord: Equatable, Sendable {
    /// That the source was checked against.
    public var checksum: Checksum?
    /// Of the source as it was given, in bytes.
    public var sourceSize: UInt64
    /// Of the template, in bytes.
    public var virtualSize: UInt64
    /// Of the source, where it says so.
    public var version: SourceVersion?

    public init(checksum: Checksum?, sourceSize: UInt64, virtualSize: UInt64, version: SourceVersion? = nil) {
        self.checksum = checksum
        self.version = version
        self.sourceSize = sourceSize
        self.virtualSize = virtualSize
    }
}

/// How far an import is.
public struct ImportProgress: Equatable, Sendable {
    public enum Phase: String, Sendable { case downloading, reading, unpacking, copying, verifying }

    public var phase: Phase
    public var bytesDone: UInt64
    /// Nil where it is not known.
    public var bytesTotal: UInt64?

    init(phase: Phase, bytesDone: UInt64, bytesTotal: UInt64?) {
        (self.phase, self.bytesDone, self.bytesTotal) = (phase, bytesDone, bytesTotal)
    }

    init(_ copy: CopyProgress) {
        let phase: Phase = copy.phase == .copying ? .copying : .verifying
        self.init(phase: phase, bytesDone: copy.bytesDone, bytesTotal: copy.bytesTotal)
    }
}
