import BlockStorage
import IORuntime
import SystemPackage

/// Brings a template into a pool: reads a source, checks it, unpacks it, inspects it, and publishes a fresh copy of the
/// disk in it.
///
/// Nothing of the source but the bytes of the disk reaches the pool. Whatever fails, and when the task is cancelled,
/// nothing is left behind, neither in the pool nor in the scratch directory; even a killed process leaves no scratch
/// file.
public struct TemplateImport: Sendable {
    /// The name of the template in the pool.
    public var name: String
    public var source: any TemplateSource
    /// What the source is, once it is unpacked. It is believed only if the bytes agree.
    public var format: VolumeFormat
    /// How the source is packed; the initializer takes it from the ending of the source's name.
    public var compression: Compression?
    /// What the bytes of the source must add up to, before they are unpacked.
    public var checksum: Checksum?
    public var limits = ImportLimits()
    /// Reads the template again before it is published, and compares it with the source.
    public var verifies = false
    /// Where packed sources are unpacked to: a directory with as much space as the image takes.
    public var scratchDirectory: FilePath
    /// What the caller has recorded of an earlier import under this name.
    public var recorded: TemplateRecord?
    /// Called now and then, never twice at once.
    public var progress: (@Sendable (ImportProgress) -> Void)?
    /// Publishes the template that is complete, for a caller that has to record it at that moment.
    public var publish: @Sendable (any StagedTemplate, TemplateRecord) async throws(StorageError) -> VolumeDescription =
        { (staged, _) async throws(StorageError) in try await staged.publish() }

    /// Imports `source` as the template `name`.
    public init(
        name: String, source: any TemplateSource, format: VolumeFormat, checksum: Checksum? = nil,
        scratchDirectory: FilePath
    ) {
        self.name = name
        self.source = source
        self.format = format
        self.checksum = checksum
        self.scratchDirectory = scratchDirectory
        compression = Compression(fileName: source.name)
    }

    /// Imports the template into `pool`.
    ///
    /// When the pool has a template of that name, the import succeeds if it is the same one: the checksum is the
    /// recorded one, which takes no time, or else the disks are equal, byte for byte. A different one, or a volume of
    /// that name, throws `alreadyExists`. Throws `checksumMismatch` for a wrong checksum, `unsafeImage` for a source
    /// that must not become a template, `corrupt` for a damaged one, `conflict` for one that changed meanwhile.
    public func run(into pool: any StoragePool) async throws(StorageError) -> ImportedTemplate {
        try VolumeName.check(name, as: "template name")
        if let existing = try await existingTemplate(in: pool), let recorded, let checksum,
            recorded.checksum == checksum, recorded.virtualSize == existing.virtualSize
        {
            return ImportedTemplate(template: existing, record: recorded, wasThere: true)
        }
        let input = try await source.open()
        return try await finally({ await input.close() }) { () async throws(StorageError) in
            let image = try await readSource(input)
            return try await finally({ try? await image.volume.close() }) { () async throws(StorageError) in
                let disk = try await GuestImage.open(image.volume, format, limits: limits)
                try GuestImage.checkSectors(disk)
                let record = TemplateRecord(
                    checksum: checksum, sourceSize: image.sourceSize, virtualSize: disk.geometry.size)
                return try await finally({ try? await disk.close() }) { () async throws(StorageError) in
                    try await publish(disk, record, input, pool)
                }
            }
        }
    }

    /// The template of that name; nil when there is none. Throws `alreadyExists` for a volume.
    private func existingTemplate(in pool: any StoragePool) async throws(StorageError) -> VolumeDescription? {
        let existing: VolumeDescription
        do {
            existing = try await pool.describeVolume(name)
        } catch  where error.code == .notFound {
            return nil
        }
        guard existing.isTemplate else { throw taken(by: "a volume", in: pool) }
        return existing
    }

    /// Reads all of the source as far as that is needed, and compares its checksum. The result is the image that was
    /// in it, unpacked.
    private func readSource(
        _ input: any TemplateInput
    ) async throws(StorageError) -> (volume: any ResizableVolume, sourceSize: UInt64) {
        let stream = try SourceStream(input, name: source.name, adding: checksum?.algorithm)
        if compression == nil, let volume = try await input.volume() {
            if checksum != nil {
                try await stream.readAll { report(.reading, $0, of: input.byteCount) }
                try compare(stream)
            }
            return (volume, volume.geometry.size)
        }
        let scratch = try await ScratchFile.make(in: scratchDirectory)
        try await Unpacker(stream, compression, to: scratch, limits: limits).run {
            report(.unpacking, $0, of: input.byteCount)
        }
        try compare(stream)
        return (try await FileVolume(scratch, isReadOnly: true), stream.bytesRead)
    }

    private func compare(_ stream: SourceStream) throws(StorageError) {
        guard let checksum, let found = try stream.checksum(), found != checksum else { return }
        throw StorageError(
            .checksumMismatch, "import template", at: source.name, why: "it is \(found), and \(checksum) was declared")
    }

    /// Copies the disk into the pool and makes it visible, or compares it with what is there.
    private func publish(
        _ disk: any Volume, _ record: TemplateRecord, _ input: any TemplateInput, _ pool: any StoragePool
    ) async throws(StorageError) -> ImportedTemplate {
        if let existing = try await existingTemplate(in: pool) {
            return try await compare(disk, with: existing, record, in: pool)
        }
        do {
            let staged = try await pool.stageTemplate(name, size: disk.geometry.size)
            // Does nothing once the template is published.
            let template = try await finally({ await staged.discard() }) { () async throws(StorageError) in
                try await disk.copy(to: staged.volume, copyOptions(verifies: verifies, destinationReadsZero: true))
                try await input.checkUnchanged()
                return try await publish(staged, record)
            }
            return ImportedTemplate(template: template, record: record, wasThere: false)
        } catch  where error.code == .alreadyExists {
            // Another import was faster.
            guard let existing = try await existingTemplate(in: pool) else { throw error }
            return try await compare(disk, with: existing, record, in: pool)
        }
    }

    private func compare(
        _ disk: any Volume, with existing: VolumeDescription, _ record: TemplateRecord, in pool: any StoragePool
    ) async throws(StorageError) -> ImportedTemplate {
        guard existing.virtualSize == record.virtualSize else { throw taken(by: "another template", in: pool) }
        let template = try await pool.openVolume(VolumeReference(name), mode: .readOnly)
        try await finally({ try? await template.close() }) { () async throws(StorageError) in
            do throws(StorageError) {
                try await disk.verifyCopy(in: template, copyOptions())
            } catch  where error.code == .corrupt {
                throw taken(by: "another template", in: pool)
            }
        }
        return ImportedTemplate(template: existing, record: record, wasThere: true)
    }

    private func taken(by what: String, in pool: any StoragePool) -> StorageError {
        StorageError(.alreadyExists, "import template", at: "\(pool.name)/\(name)", why: "\(what) has that name")
    }

    private func copyOptions(verifies: Bool = false, destinationReadsZero: Bool = false) -> CopyOptions {
        var options = CopyOptions(destinationReadsZero: destinationReadsZero, verifies: verifies)
        if let progress { options.progress = { progress(ImportProgress($0)) } }
        return options
    }

    private func report(_ phase: ImportProgress.Phase, _ bytesDone: UInt64, of total: UInt64?) {
        progress?(ImportProgress(phase: phase, bytesDone: bytesDone, bytesTotal: total))
    }
}

/// A template that an import has brought, or found.
public struct ImportedTemplate: Equatable, Sendable {
    public var template: VolumeDescription
    /// To be recorded, for the next import under this name.
    public var record: TemplateRecord
    /// Whether the pool had the template already.
    public var wasThere: Bool
}

/// What to remember of an import, so that the next one need not be done.
public struct TemplateRecord: Equatable, Sendable {
    /// That the source was checked against.
    public var checksum: Checksum?
    /// Of the source as it was given, in bytes.
    public var sourceSize: UInt64
    /// Of the template, in bytes.
    public var virtualSize: UInt64

    public init(checksum: Checksum?, sourceSize: UInt64, virtualSize: UInt64) {
        self.checksum = checksum
        self.sourceSize = sourceSize
        self.virtualSize = virtualSize
    }
}

/// How far an import is.
public struct ImportProgress: Equatable, Sendable {
    public enum Phase: String, Sendable { case reading, unpacking, copying, verifying }

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
