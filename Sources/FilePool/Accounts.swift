import BlockStorage
import IORuntime

/// The sum of what a pool's declarations promise, kept beside them so that one more volume costs the same in a pool of
/// ten thousand.
///
/// The truth is the declarations. The sum is believed as long as it was written after the last change to them: their
/// directory has the time that stands in it. Who changes them holds the lock of the file that it is in, writes first
/// that it is unknown, and the new one at last; so whatever a crash, a loss of power or another program leaves, the next
/// one adds up anew.
struct AccountsFile: Sendable {
    private static let byteCount = 96
    private static let lockedByte: Range<UInt64> = 0..<1
    /// Nobody holds the lock for longer than some calls to the file system take.
    private static let patience: Duration = .seconds(30)

    private let file: any StoredFile

    /// Opens the file, and makes it where it is missing: of several who do so at once, one wins.
    static func open(in store: any FileStore) async throws(StorageError) -> AccountsFile {
        do throws(StorageError) {
            return try await openExisting(in: store)
        } catch {
            if error.code != .notFound { throw error }
        }
        try await store.publish(
            [UInt8](repeating: UInt8(ascii: " "), count: byteCount), as: HiddenName.accounts,
            draft: HiddenName.accountsDraftPrefix)
        return try await openExisting(in: store)
    }

    private static func openExisting(in store: any FileStore) async throws(StorageError) -> AccountsFile {
        let file = try await store.open(HiddenName.accounts, .write)
        // Whatever cut it.
        if file.volume.geometry.size < byteCount { try await file.volume.resize(to: UInt64(byteCount)) }
        return AccountsFile(file: file)
    }

    func lock() async throws(StorageError) {
        let deadline = ContinuousClock.now + Self.patience
        while try await !file.lock(.exclusive, Self.lockedByte) {
            if ContinuousClock.now > deadline {
                throw StorageError(
                    .timedOut, "lock the pool's accounts", why: "another process holds them for \(Self.patience)")
            }
            try? await Task.sleep(for: .microseconds(Int.random(in: 100...1000)))
            if Task.isCancelled { throw StorageError(.cancelled, "lock the pool's accounts") }
        }
    }

    func unlock() async {
        // It goes with the process at the latest.
        _ = try? await file.lock(.unlocked, Self.lockedByte)
    }

    /// The sum that was written when the declarations' directory had that time; nil where it is not known.
    func sum(asOf changedAt: Int64) async throws(StorageError) -> Provisioned? {
        var bytes = [UInt8](repeating: 0, count: Self.byteCount)
        var span = bytes.mutableRawBytes
        try await file.volume.read(into: &span, at: 0)
        let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: true)
        guard fields.count == 3, Int64(fields[0]) == changedAt, let sum = UInt64(fields[1]),
            let iops = UInt64(fields[2])
        else { return nil }
        return Provisioned(bytes: sum, minIOPS: iops)
    }

    /// Writes the sum, or (nil) that it is not known.
    func write(_ sum: Provisioned?, asOf changedAt: Int64 = 0) async throws(StorageError) {
        let text = sum.map { "\(changedAt) \($0.bytes) \($0.minIOPS)" } ?? ""
        var bytes = Array(text.utf8)
        bytes += [UInt8](repeating: UInt8(ascii: " "), count: Self.byteCount - bytes.count)
        try await file.volume.write(bytes.rawBytes, at: 0)
    }
}

/// The declarations of a pool and their sum, while this process alone may change them.
struct Accounts {
    private let store: any FileStore
    private let bootTag: String
    private let file: AccountsFile
    private(set) var sum: Provisioned
    /// The names of what is there and does not count yet, if the declarations were added up.
    private(set) var uncounted: [String] = []
    /// Whether the file says already that the sum is not known.
    private var isMarked = false
    /// Whether a change may or may not have happened.
    private var isUncertain = false

    /// `sum` is nil where the file does not know it: `declarations` are added up then.
    init(
        _ store: any FileStore, bootTag: String, file: AccountsFile, sum: Provisioned?
    ) async throws(StorageError) {
        self.store = store
        self.bootTag = bootTag
        self.file = file
        self.sum = sum ?? Provisioned()
        if sum != nil { return }
        try await mark()
        let texts = try await store.targetsOfSymbolicLinks(in: HiddenName.declarations)
        for (name, text) in texts {
            guard let declaration = Declaration(text) else { continue }
            let isCounted =
                declaration.oldName.map { texts[$0] != nil } ?? (declaration.bytes != nil || !VolumeName.isValid(name))
            if !isCounted { uncounted.append(name) }
            add(declaration.provisioned)
        }
    }

    func declaration(of name: String) async throws(StorageError) -> Declaration? {
        try await store.declaration(of: name)
    }

    /// Makes, replaces or (nil) removes the declaration of `name` in one step, whatever it was.
    mutating func declare(_ name: String, _ declaration: Declaration?) async throws(StorageError) {
        let old = try await store.declaration(of: name)
        try await mark()
        // Until it is known to be done.
        let wasUncertain = isUncertain
        isUncertain = true
        let link = HiddenName.declaration(of: name)
        if let declaration {
            do throws(StorageError) {
                try await store.makeSymbolicLink(link, to: declaration.text)
            } catch {
                if error.code != .alreadyExists { throw error }
                let draft = HiddenName.declaration(of: HiddenName.staging(bootTag))
                try await store.makeSymbolicLink(draft, to: declaration.text)
                try await store.rename(draft, to: link, replacing: true)
            }
        } else {
            do throws(StorageError) {
                try await store.remove(link)
            } catch {
                if error.code != .notFound { throw error }
            }
        }
        isUncertain = wasUncertain
        if let old { subtract(old.provisioned) }
        if let declaration { add(declaration.provisioned) }
    }

    /// Gives a declaration another name in one step. Throws `alreadyExists` when that has one.
    mutating func move(_ name: String, to newName: String) async throws(StorageError) {
        try await mark()
        try await store.rename(
            HiddenName.declaration(of: name), to: HiddenName.declaration(of: newName), replacing: false)
    }

    /// Has the next one add up anew.
    mutating func distrust() { isUncertain = true }

    /// Makes the sum known to the next one, if it is known here.
    func save() async throws(StorageError) {
        guard isMarked, !isUncertain else { return }
        let status = try await store.status(of: HiddenName.declarations, followsLinks: false)
        try await file.write(sum, asOf: status.modifiedAt)
    }

    private mutating func mark() async throws(StorageError) {
        if isMarked { return }
        try await file.write(nil)
        isMarked = true
    }

    private mutating func add(_ provisioned: Provisioned) {
        let bytes = sum.bytes.addingReportingOverflow(provisioned.bytes)
        let iops = sum.minIOPS.addingReportingOverflow(provisioned.minIOPS)
        sum = Provisioned(
            bytes: bytes.overflow ? .max : bytes.partialValue, minIOPS: iops.overflow ? .max : iops.partialValue)
        // Nothing could be subtracted from it again.
        if bytes.overflow || iops.overflow { isUncertain = true }
    }

    private mutating func subtract(_ provisioned: Provisioned) {
        let bytes = sum.bytes.subtractingReportingOverflow(provisioned.bytes)
        let iops = sum.minIOPS.subtractingReportingOverflow(provisioned.minIOPS)
        if bytes.overflow || iops.overflow || sum.bytes == .max || sum.minIOPS == .max { isUncertain = true }
        sum = Provisioned(
            bytes: bytes.overflow ? 0 : bytes.partialValue, minIOPS: iops.overflow ? 0 : iops.partialValue)
    }
}
