#if ISCSI
    import BlockStorage
    import IORuntime

    extension ISCSIPool {
        public func listVolumes() async throws(StorageError) -> [VolumeDescription] {
            try await list { $0.isVolume }
        }

        public func listTemplates() async throws(StorageError) -> [VolumeDescription] {
            try await list { !$0.isVolume }
        }

        private func list(_ isWanted: (LUN) -> Bool) async throws(StorageError) -> [VolumeDescription] {
            let census = try await census()
            let units = census.units.filter { $0.visibleName != nil && isWanted($0) }
            let sizes = try await provisioner.allocatedSizes(of: units.map(\.id))
            return units.map { describe($0, census, sizes) }.sorted { $0.name < $1.name }
        }

        public func describeVolume(_ name: String) async throws(StorageError) -> VolumeDescription {
            let what = "describe volume"
            try VolumeName.check(name)
            let census = try await census()
            guard let unit = find(name, in: census.units) else {
                throw failure(.notFound, what, name, "there is no volume or template of that name")
            }
            var description = describe(unit, census, try await provisioner.allocatedSizes(of: [unit.id]))
            description.details = [VolumeDescription.Detail("unit", "\(unit.id)")] + unit.details
            if let holder = unit.mark?.holder {
                description.details.append(
                    VolumeDescription.Detail("held by", "\(holder.process), initiator \(holder.initiator)"))
            }
            for session in try await provisioner.sessions(of: unit.id) {
                let address = session.address.map { " at \($0)" } ?? ""
                description.details.append(
                    VolumeDescription.Detail("session", "\(session.initiator)\(address)"))
            }
            return description
        }

        private func describe(
            _ unit: LUN, _ census: UnitCensus, _ allocatedSizes: [LUN.ID: UInt64]
        ) -> VolumeDescription {
            var description = VolumeDescription(
                name: unit.visibleName ?? unit.name, path: unit.path.map { "\($0)" } ?? unit.name,
                format: unit.mark?.format, virtualSize: unit.mark?.virtualSize ?? unit.size,
                allocatedSize: allocatedSizes[unit.id] ?? unit.allocatedSize ?? unit.size,
                provisioning: unit.mark?.provisioning ?? .thin,
                qos: unit.qos, isManaged: unit.mark != nil, isTemplate: !unit.isVolume)
            if let source = unit.mark?.source,
                let name = census.units.first(where: { $0.id == source.unit && $0.mark?.phase != .building })?.mark?
                    .name
            {
                description.template = VolumeReference(name, snapshot: source.snapshot)
            }
            description.snapshots = (census.snapshots[unit.id] ?? [])
                .filter { $0.isVisible(of: unit) }.map(\.name)
            return description
        }

        public func statistics() async throws(StorageError) -> PoolStatistics {
            let capacity = try await provisioner.capacity()
            return PoolStatistics(
                capacity: capacity.bytes, allocated: capacity.used,
                available: capacity.bytes - min(capacity.bytes, capacity.used),
                volumeCount: UInt64(try await provisioner.units().count { $0.visibleName != nil }),
                capacityIOPS: capacity.iops)
        }

        public func provisioned() async throws(StorageError) -> Provisioned {
            let (settled, pending) = try await census().provisioned(without: nil)
            return settled + pending
        }
    }
#endif
