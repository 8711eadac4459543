import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    /// A file in the pool's directory, and what was declared of it.
    struct PoolFile: Sendable {
        var name: String
        var status: FileStatus
        /// Nil for what nobody adopted.
        var declaration: Declaration?
    }

    /// The file of a volume or template. Throws `notFound`, and `invalidArgument` for a name that is none.
    func find(_ name: String, _ what: String) async throws(StorageError) -> PoolFile {
        guard let file = try await findIfPresent(name) else {
            throw failure(.notFound, what, name, "there is no volume or template of that name")
        }
        return file
    }

    func findIfPresent(_ name: String) async throws(StorageError) -> PoolFile? {
        try VolumeName.check(name)
        guard let status = try await statusIfPresent(name), status.isRegularFile else { return nil }
        let declaration = try await store.declaration(of: name)
        // What has the name that was reserved is not what it was reserved for.
        return PoolFile(
            name: name, status: status, declaration: declaration?.kind == .reservation ? nil : declaration)
    }

    /// As `find`, for what needs to know the format. Throws `invalidArgument` when nobody declared it.
    func findManaged(_ name: String, _ what: String) async throws(StorageError) -> (PoolFile, Declaration) {
        let file = try await find(name, what)
        guard let declaration = file.declaration else {
            throw failure(
                .invalidArgument, what, name, "it was put there by something else: adopt it, declaring its format")
        }
        return (file, declaration)
    }

    func statusIfPresent(_ name: String) async throws(StorageError) -> FileStatus? {
        do throws(StorageError) {
            return try await store.status(of: name, followsLinks: false)
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }

    /// All regular files with names that volumes may have, in no order; with `unnameable`, also those that other tools
    /// gave other names.
    func files(unnameable: Bool = false) async throws(StorageError) -> [PoolFile] {
        // Two long readings of directories, side by side.
        async let links = targetsOfDeclarations()
        let entries = try await store.entries(in: "")
        let declared = try await links.get()
        // Most files are declared in one of few ways.
        var declarations: [String: Declaration?] = [:]
        var files: [PoolFile] = []
        files.reserveCapacity(entries.count)
        for entry in entries where entry.status.isRegularFile && !entry.name.hasPrefix(HiddenName.stagingPrefix) {
            guard unnameable || VolumeName.isValid(entry.name) else { continue }
            var declaration: Declaration?
            if let text = declared[entry.name] {
                if let known = declarations[text] {
                    declaration = known
                } else {
                    declaration = Declaration(text)
                    declarations[text] = .some(declaration)
                }
            }
            files.append(
                PoolFile(
                    name: entry.name, status: entry.status,
                    declaration: declaration?.kind == .reservation ? nil : declaration))
        }
        return files
    }

    private func targetsOfDeclarations() async -> Result<[String: String], StorageError> {
        do throws(StorageError) {
            return .success(try await store.targetsOfSymbolicLinks(in: HiddenName.declarations))
        } catch {
            return .failure(error)
        }
    }

    public func listVolumes() async throws(StorageError) -> [VolumeDescription] {
        await describe(try await files().filter { $0.declaration?.kind != .template }).sorted { $0.name < $1.name }
    }

    public func listTemplates() async throws(StorageError) -> [VolumeDescription] {
        await describe(try await files().filter { $0.declaration?.kind == .template }).sorted { $0.name < $1.name }
    }

    private func describe(_ files: [PoolFile]) async -> [VolumeDescription] {
        await readFacts(of: files.filter { $0.declaration?.format == .qcow2 })
        var descriptions: [VolumeDescription] = []
        descriptions.reserveCapacity(files.count)
        for file in files { descriptions.append(await describe(file).description) }
        return descriptions
    }

    public func describeVolume(_ name: String) async throws(StorageError) -> VolumeDescription {
        let (description, failure) = await describe(try await find(name, "describe volume"))
        if let failure { throw failure }
        return description
    }

    /// The description of a file, and why it is not complete: a damaged image is still listed.
    func describe(_ file: PoolFile) async -> (description: VolumeDescription, failure: StorageError?) {
        var description = VolumeDescription(
            name: file.name, path: store.location(of: file.name), format: file.declaration?.format,
            virtualSize: file.status.size, allocatedSize: file.status.allocatedSize,
            provisioning: file.declaration?.provisioning ?? .thin, qos: file.declaration?.qos,
            isManaged: file.declaration != nil,
            isTemplate: file.declaration?.kind == .template)
        guard file.declaration?.format == .qcow2 else { return (description, nil) }
        do throws(StorageError) {
            let facts = try await facts(of: file)
            description.virtualSize = facts.virtualSize
            description.snapshots = facts.snapshots
            if let backing = facts.backingFile {
                description.template = (try? await backingName(backing, of: file.name)).map { VolumeReference($0) }
            }
            return (description, facts.failure)
        } catch {
            return (description, error)
        }
    }

    /// Has the facts of many images at hand that are not yet, as far as the beginnings of their files tell them.
    func readFacts(of files: [PoolFile]) async {
        let unknown = files.filter { images.facts($0.status) == nil }
        let parts = stride(from: 0, to: unknown.count, by: Self.beginningsAtOnce).map {
            unknown[$0..<min($0 + Self.beginningsAtOnce, unknown.count)]
        }
        await withTaskGroup(of: Void.self) { group in
            for (index, part) in parts.enumerated() {
                if index >= 4 { await group.next() }
                group.addTask {
                    let beginnings = await self.store.beginnings(of: part.map(\.name), count: Self.beginningByteCount)
                    for (file, bytes) in zip(part, beginnings) {
                        guard let bytes, let facts = ImageFacts(beginning: bytes) else { continue }
                        self.images.remember(facts, of: file.status)
                    }
                }
            }
        }
    }

    private static let beginningsAtOnce = 256
    /// Enough for the header and the name of a backing file that most programs write, in bytes.
    private static let beginningByteCount = 1024

    /// What the image in a file says of itself; only asked of files that nobody declared to be raw.
    func facts(of file: PoolFile) async throws(StorageError) -> ImageFacts {
        if let known = images.facts(file.status) { return known }
        let stored = try await store.open(file.name, .readOnly)
        let facts = await ImageFacts.read(from: stored.volume)
        // A failed read says nothing about the next one.
        if facts.failure == nil || facts.failure?.code == .corrupt { images.remember(facts, of: file.status) }
        return facts
    }
}

extension FilePool {
    /// What a volume counts for: its virtual size, and that of each of its snapshots.
    static func logicalBytes(of volume: any Volume) -> UInt64 {
        let size = volume.geometry.size
        guard let image = volume as? QCOW2Volume else { return size }
        return image.snapshots.reduce(size) { $0.addingSaturating($1.diskSize ?? size) }
    }
}
