import BlockStorage
import IORuntime
import QCOW2

extension FilePool {
    /// Sizes of volumes are a multiple of this, in bytes.
    static let sectorSize: UInt64 = 512

    func checkSize(_ size: UInt64, _ what: String, _ name: String) throws(StorageError) {
        guard size > 0, size % Self.sectorSize == 0, size <= Int64.max else {
            throw failure(
                .invalidArgument, what, name, "\(size) is not a positive multiple of \(Self.sectorSize) bytes")
        }
    }

    public func createVolume(_ name: String, _ request: CreateRequest) async throws(StorageError) -> VolumeDescription {
        try VolumeName.check(name)
        try checkSize(request.size, "create volume", name)
        try checkPolicy(request.qos, "create volume", of: name)
        return try await names.withName(name) { () async throws(StorageError) in
            try await createOnce(name) { existing in
                existing.format == request.format && existing.virtualSize == request.size
                    && existing.provisioning == request.provisioning && existing.template == nil
                    && (request.qos == nil || existing.qos == request.qos)
            } create: { () async throws(StorageError) in
                try await create(name, request)
            }
        }
    }

    /// Creates a volume unless the same one exists, also if another host creates it at the same time.
    func createOnce(
        _ name: String, isSame: (VolumeDescription) -> Bool, create: () async throws(StorageError) -> Void
    ) async throws(StorageError) -> VolumeDescription {
        if try await statusIfPresent(name) == nil {
            do throws(StorageError) {
                try await create()
                return try await describeVolume(name)
            } catch {
                // Another host may be making the same one just now: then there is no other room to ask for.
                guard error.code == .alreadyExists || error.code == .quotaExceeded else { throw error }
                if error.code == .quotaExceeded, try await statusIfPresent(name) == nil { throw error }
            }
        }
        guard let file = try await findIfPresent(name) else { throw taken(name) }
        let existing = await describe(file).description
        guard existing.isManaged, !existing.isTemplate, isSame(existing) else { throw taken(name) }
        return existing
    }

    private func create(_ name: String, _ request: CreateRequest) async throws(StorageError) {
        if request.provisioning == .fat {
            let space = try await store.space()
            guard request.size <= space.available else {
                throw failure(
                    .noSpace, "create volume", name,
                    "\(request.size) bytes are to be allocated and \(space.available) are available")
            }
        }
        let declaration = Declaration(
            .volume, request.format, request.provisioning, bytes: request.size, qos: request.qos)
        try await build(name, declaration, takingOver: true) { (staged) async throws(StorageError) in
            let volume = staged.guardian.volume
            switch request.format {
            case .raw:
                try await volume.resize(to: request.size)
                if request.provisioning == .fat {
                    try await volume.writeZeroes(0..<request.size, options: .keepAllocated)
                    try await volume.flush()
                }
            case .qcow2:
                var options = QCOW2CreateOptions(size: request.size)
                switch request.provisioning {
                case .thin: return try await writeImage(options, to: staged)
                case .sparse: options.preallocation = .metadata
                case .fat: options.preallocation = .full
                }
                try await QCOW2Volume.create(on: volume, options)
            }
        }
    }

    /// Builds a file under a hidden name and publishes it. `body` leaves its bytes durable. With `takingOver` the name
    /// may be reserved for just this volume.
    func build(
        _ name: String, _ declaration: Declaration, takingOver: Bool = false,
        _ body: (StagedFile) async throws(StorageError) -> Void
    ) async throws(StorageError) {
        let staged = try await stage()
        do throws(StorageError) {
            try await reserve(staged, for: name, declaration, takingOver: takingOver, "create volume")
            try await body(staged)
            try await publish(staged, as: name, declaration)
        } catch {
            await discard(staged)
            throw error
        }
    }

    /// Writes a new image without preallocation: laid out in memory, then written and made durable once.
    func writeImage(_ options: QCOW2CreateOptions, to staged: StagedFile) async throws(StorageError) {
        let image = MemoryVolume(size: 0)
        try await QCOW2Volume.create(on: image, options)
        try await staged.guardian.resizeBeforeFlush(to: image.geometry.size)
        let volume = staged.guardian.volume
        let whole = 0..<image.geometry.size
        for extent in try await image.extents(in: whole) where extent.kind == .data {
            var bytes = [UInt8](repeating: 0, count: Int(extent.range.upperBound - extent.range.lowerBound))
            var span = bytes.mutableRawBytes
            try await image.read(into: &span, at: extent.range.lowerBound)
            try await volume.write(bytes.rawBytes, at: extent.range.lowerBound)
        }
        try await volume.flush()
    }

    public func adoptVolume(_ name: String, format: VolumeFormat) async throws(StorageError) -> VolumeDescription {
        try VolumeName.check(name)
        return try await names.withName(name) { () async throws(StorageError) in
            let file = try await find(name, "adopt volume")
            if let declaration = file.declaration {
                guard declaration.format == format else {
                    throw failure(.alreadyExists, "adopt volume", name, "it is managed, and \(declaration.format)")
                }
                return try await describeVolume(name)
            }
            let (size, logical): (UInt64, UInt64)
            switch format {
            case .raw: (size, logical) = (file.status.size, file.status.size)
            case .qcow2:
                // Opened once through the gate: what could not be opened later is not taken over now.
                let volume = try await open(file, Declaration(.volume, .qcow2), .reading, snapshot: nil)
                (size, logical) = (volume.geometry.size, Self.logicalBytes(of: volume))
                try await volume.close()
            }
            let isAllocated = size > 0 && file.status.allocatedSize >= size
            let declaration = Declaration(.volume, format, isAllocated ? .fat : .thin, bytes: logical)
            try await withAdmission { (accounts) async throws(StorageError) in
                try await self.admit(declaration.provisioned, beside: accounts, "adopt volume", name)
                try await accounts.declare(name, declaration)
            }
            try await store.synchronize(HiddenName.declarations)
            return try await describeVolume(name)
        }
    }
}
