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
    /// Where QCOW2 images are kept meanwhile that are packed, or come from a server that gives no parts of a file: a
    /// directory with as much space as the image file takes. Everything else goes straight into the pool.
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
        compression = Compression(fileName: source.fileName)
    }

    /// Imports the template into `pool`.
    ///
    /// When the pool has a template of that name, the import succeeds if it is the same one: the checksum, or the
    /// version that a server vouches for, is the recorded one, which takes no time, or else the disks are equal, byte
    /// for byte. A different one, or a volume of that name, throws `alreadyExists`. Throws `checksumMismatch` for a
    /// wrong checksum, after as many attempts as the source is worth, `unsafeImage` for a source that must not become
    /// a template, `corrupt` for a damaged one, `conflict` for one that changed meanwhile.
    public func run(into pool: any StoragePool) async throws(StorageError) -> ImportedTemplate {
        try VolumeName.check(name, as: "template name")
        if let known = try await knownTemplate(checksum: checksum, version: nil, in: pool) { return known }
        while true {
            let input = try await source.open(checksum: checksum)
            do {
                let imported = try await finally({ await input.close() }) { () async throws(StorageError) in
                    try await untilCancelled(input) { () async throws(StorageError) in try await run(input, pool) }
                }
                // Where another import was faster, the next attempt compares.
                if let imported { return imported }
            } catch  where isAboutBytes(error, input) {
                guard input.compared(matches: false, error.why), !Task.isCancelled else {
                    throw afterAllAttempts(error)
                }
            }
        }
    }

    /// Runs `body`, and ends whatever `input` is waiting for when the task is cancelled.
    private func untilCancelled<Value: Sendable>(
        _ input: any TemplateInput, _ body: () async throws(StorageError) -> Value
    ) async throws(StorageError) -> Value {
        let result = await withTaskCancellationHandler { () async -> Result<Value, StorageError> in
            do throws(StorageError) {
                return .success(try await body())
            } catch {
                return .failure(error)
            }
        } onCancel: {
            input.cancel()
        }
        return try result.get()
    }

    /// Whether other bytes could have made the difference: they do not add up, or it is not known yet that they do and
    /// they make no sense.
    private func isAboutBytes(_ error: StorageError, _ input: any TemplateInput) -> Bool {
        switch error.code {
        case .checksumMismatch: error.what == Self.comparison
        case .corrupt, .unsafeImage: input.isRemote && !checksums(input).isEmpty && error.what != "download"
        default: false
        }
    }

    /// What fails where all of the source does not add up. Where a part does not, the download has tried again itself.
    private static let comparison = "compare template"

    /// The error with the number of attempts, where there were several.
    private func afterAllAttempts(_ error: StorageError) -> StorageError {
        let attempts = source.report?.locations.map(\.checksumFailures).reduce(0, +) ?? 0
        guard error.code == .checksumMismatch, attempts > 1 else { return error }
        return StorageError(error.code, error.what, at: error.place, why: "\(error.why) (\(attempts) attempts)")
    }

    /// Nil when another import of that name was faster, and the source has to be read again to compare.
    private func run(
        _ input: any TemplateInput, _ pool: any StoragePool
    ) async throws(StorageError) -> ImportedTemplate? {
        if let known = try await knownTemplate(
            checksum: checksum ?? input.checksum, version: input.version, in: pool)
        {
            return known
        }
        let compression = input.fileName.map(Compression.init(fileName:)) ?? compression
        var imported: ImportedTemplate?
        do {
            if format == .raw, compression != nil || input.isRemote {
                imported = try await importStream(input, compression, pool)
            } else {
                imported = try await importImage(input, compression, pool)
            }
        } catch  where error.code == .alreadyExists {
            let changes = changes(in: input)
            guard !changes.isEmpty else { throw error }
            throw StorageError(
                .alreadyExists, error.what, at: error.place,
                why: "\(error.why); since then the source changed: " + changes.joined(separator: ", "))
        }
        imported?.report = source.report
        imported?.report?.changes = changes(in: input)
        return imported
    }

    /// The template that is there, where what is recorded of it shows that it is the one to import.
    private func knownTemplate(
        checksum: Checksum?, version: SourceVersion?, in pool: any StoragePool
    ) async throws(StorageError) -> ImportedTemplate? {
        guard let existing = try await existingTemplate(in: pool), let recorded,
            recorded.virtualSize == existing.virtualSize
        else { return nil }
        let isKnown =
            if let checksum {
                recorded.checksum == checksum
            } else {
                version.map { recorded.version?.isCertainlySame(as: $0) ?? false } ?? false
            }
        guard isKnown else { return nil }
        return ImportedTemplate(template: existing, record: recorded, wasThere: true, report: source.report)
    }

    /// What the source says otherwise than when the template was imported.
    private func changes(in input: any TemplateInput) -> [String] {
        guard let recorded else { return [] }
        var changes: [String] = []
        if let old = recorded.checksum, let new = checksum ?? input.checksum, old.algorithm == new.algorithm, old != new
        {
            changes.append("its checksum was \(old), and is \(new)")
        }
        if let old = recorded.version, let new = input.version { changes += old.changes(to: new) }
        return changes
    }

    /// The template of that name; nil when there is none. Throws `alreadyExists` for a volume.
    func existingTemplate(in pool: any StoragePool) async throws(StorageError) -> VolumeDescription? {
        let existing: VolumeDescription
        do {
            existing = try await pool.describeVolume(name)
        } catch  where error.code == .notFound {
            return nil
        }
        guard existing.isTemplate else { throw taken(by: "a volume", in: pool) }
        return existing
    }

    /// What the bytes of the source must add up to.
    func checksums(_ input: any TemplateInput) -> [Checksum] { [checksum, input.checksum].compactMap(\.self) }

    /// Throws `checksumMismatch` unless the bytes add up to what was declared.
    func compare(_ found: [Checksum], _ input: any TemplateInput) throws(StorageError) {
        for (found, declared) in zip(found, checksums(input)) where found != declared {
            throw StorageError(
                .checksumMismatch, Self.comparison, at: source.name,
                why: "it is \(found), and \(declared) was declared")
        }
        _ = input.compared(matches: true, "")
    }

    /// What to remember of the import.
    func record(_ input: any TemplateInput, sourceSize: UInt64, virtualSize: UInt64) -> TemplateRecord {
        TemplateRecord(
            checksum: checksum ?? input.checksum, sourceSize: sourceSize, virtualSize: virtualSize,
            version: input.version)
    }

    func taken(by what: String, in pool: any StoragePool) -> StorageError {
        StorageError(.alreadyExists, "import template", at: "\(pool.name)/\(name)", why: "\(what) has that name")
    }

    func report(_ phase: ImportProgress.Phase, _ bytesDone: UInt64, of total: UInt64?) {
        progress?(ImportProgress(phase: phase, bytesDone: bytesDone, bytesTotal: total))
    }
}
